"""Flipped bits and cut ends in every kind of file: an error, a line, or the same content; no other one."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.campaign import Found
from tests.faults.verbs import PREDICT, World
from unet_batch.engine import history
from unet_batch.engine.parts import Parts
from unet_batch.errors import UnetBatchError
from unet_batch.models.checkpoint import load_checkpoint
from unet_batch.prediction.run import predict
from unet_batch.prediction.status import plan_of
from unet_batch.store.image import Image
from unet_batch.store.journal import Journal, Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

_IMAGE = (64, 80)
_CUTS = 0.1  # of the tries cut the file short instead


@dataclass(frozen=True)
class Kind:
    """A kind of file, and what is read of it; ``read`` gives something to compare."""

    name: str
    file: Path
    read: Callable[[], Any]


def kinds(world: World, folder: Path) -> list[Kind]:
    """Files of one prediction and what lies around it."""
    store, network = folder / "out.zarr", folder / "net.safetensors"
    shutil.copyfile(world.folder / "net.safetensors", network)
    predict(world.folder / "image.zarr", store, network, PREDICT)
    image = shutil.copytree(world.folder / "image.zarr", folder / "image.zarr")
    Parts(str(folder / "parts")).write(0, {"a": np.arange(50), "b": np.ones((3, 4))})
    journal = _journal(store, folder)
    whole = Box.of_shape(Masks.open(store).layout.shape)

    def masks() -> Any:
        opened = Masks.open(store)
        return opened.read(whole).tobytes(), opened.layout, plan_of(opened)

    def ledger() -> Any:
        """Blocks that are done, with what is known of them; those that are open again are not silent."""
        found = Ledger.open(store)
        done = [tuple(map(int, one)) for one in found.with_status(Status.DONE)]
        return {(i, found.entry(i).checksum, found.entry(i).counts) for i in done}, found.totals().blocks

    return [
        Kind("mask shard", store / "0/c/0/0", masks),
        Kind("mask array metadata", store / "0/zarr.json", masks),
        Kind("mask store metadata", store / "zarr.json", masks),
        Kind("image chunk", image / "c/0/0", lambda: Image.open(image).read(Box.of_shape(_IMAGE)).tobytes()),
        *(Kind(f"ledger {name}", _first(store / "ledger" / name / "c"), ledger) for name in _ARRAYS),
        *(Kind(f"ledger {name} metadata", store / "ledger" / name / "zarr.json", ledger) for name in _ARRAYS),
        Kind("ledger metadata", store / "ledger/zarr.json", ledger),
        Kind("journal", journal, lambda: Journal(journal).read()),
        Kind("history", store / history.FILE, lambda: len(history.read(str(store))) < 2),
        Kind("checkpoint", network, lambda: _weights(network)),
        Kind("part", folder / "parts/0/0.npz", lambda: repr(Parts(str(folder / "parts")).read(0))),
    ]


_ARRAYS = ("status", "checksum", "seconds", "counts")


def campaign(world: World, folder: Path, seed: int, found: Found) -> None:
    """Flips until time is up, as many of each kind."""
    folder.mkdir(parents=True)
    chance, files = random.Random(seed), kinds(world, folder)
    wholes = {kind.name: (kind.file.read_bytes(), kind.read()) for kind in files}
    while not found.over:
        for kind in files:
            data, right = wholes[kind.name]
            found.count(kind.name, harmed(kind, data, right, chance))
            kind.file.write_bytes(data)


def harmed(kind: Kind, data: bytes, right: Any, chance: random.Random) -> str:
    """Harm the file once; what is wrong where that is not noticed."""
    if chance.random() < _CUTS:
        harm, torn = "cut", data[: chance.randrange(len(data))]
    else:
        bit = chance.randrange(8 * len(data))
        harm = f"bit {bit}"
        torn = data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
    kind.file.write_bytes(torn)
    try:
        read = kind.read()
    except UnetBatchError as error:
        return "" if "\n" not in str(error) else f"{harm}: more than a line"
    except Exception as error:  # noqa: BLE001 - any other error is a fault, whatever it is
        return f"{harm}: {type(error).__name__}: {error}"
    return "" if _told(kind, read, right) else f"{harm}: read as {read!r:.300}"


def _told(kind: Kind, read: Any, right: Any) -> bool:
    """Whether what was read is right, or less with a word of it."""
    if read == right:
        return True
    if kind.name.startswith("ledger"):  # blocks that are open again are told of, the others are right
        return bool(read[0] <= right[0])
    if kind.name == "journal":
        return all(one in right[0] for one in read[0])  # those that are cut off are open, and done again
    return False


def _weights(network: Path) -> Any:
    model = load_checkpoint(network)[0]
    return [value.numpy().tobytes() for value in model.state_dict().values()]


def _journal(store: Path, folder: Path) -> Path:
    """A journal with the records of the store's blocks."""
    place, ledger = folder / "journal.jsonl", Ledger.open(store)
    journal = Journal(place)
    for index in ledger.with_status(Status.DONE):
        journal.append(ledger.entry(tuple(map(int, index))))
    journal.close()
    return place


def _first(folder: Path) -> Path:
    return next(path for path in sorted(folder.rglob("*")) if path.is_file())
