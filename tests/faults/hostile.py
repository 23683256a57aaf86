"""Hostile metadata and settings: values of other types, sizes and depths at every place of real ones.

Only this program's own errors, in one line, within a second and without much memory.
"""

import copy
import json
import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.faults.campaign import Found
from tests.faults.verbs import PREDICT, World
from unet_batch.config import load
from unet_batch.engine.store_status import state_counts
from unet_batch.errors import UnetBatchError
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.models.spec import ModelSpec
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.prediction.status import plan_of
from unet_batch.products.export.config import ExportConfig
from unet_batch.store.image import Image
from unet_batch.store.masks import Masks
from unet_batch.training.config import TrainConfig

SECONDS, MEBIBYTES = 1.0, 256
_CONFIGS = Path(__file__).parents[2] / "configs"


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


VALUES: list[Any] = [None, True, -1, 0, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 1e308, -0.5, "", "0"]
VALUES += ["../..", "a" * 10_000]
VALUES += [
    "\x00",
    "\udcff",
    "/etc/passwd",
    "http://localhost:1/",
    "\x1b[2J",
    [],
    {},
    [[]],
    {"": None},
    _deep(100),
]
VALUES += [float("nan"), float("inf"), [1] * 1000, {"configuration": {}}, [2**62, 2**62], [0, 0], ["y", "y"]]


@dataclass(frozen=True)
class Target:
    """A document, how it is written, and what reads it."""

    name: str
    file: Path
    values: Any
    write: Callable[[Any], str]
    read: Callable[[], object]


def targets(world: World, folder: Path) -> list[Target]:
    """Metadata of an image, of a mask store and of their arrays; settings of verbs."""
    image, store = shutil.copytree(world.folder / "masks.zarr", folder / "image.zarr"), folder / "out.zarr"
    predict(world.folder / "image.zarr", store, world.folder / "net.safetensors", PREDICT)

    def masks() -> None:
        opened = Masks.open(store)
        plan_of(opened)
        state_counts(store)

    found = [
        _json("image metadata", image / "zarr.json", lambda: Image.open(image).identity()),
        _json("image array", image / "0/zarr.json", lambda: Image.open(image).identity()),
        _json("mask metadata", store / "zarr.json", masks),
        _json("mask array", store / "0/zarr.json", masks),
        _json("ledger metadata", store / "ledger/zarr.json", masks),
        _json("ledger array", store / "ledger/status/zarr.json", masks),
    ]
    kinds: list[tuple[str, type]] = [("predict", PredictConfig), ("ingest", IngestConfig)]
    kinds += [("mosaic", MosaicConfig), ("train", TrainConfig), ("model", ModelSpec)]
    for name, kind in [*kinds, ("products/export", ExportConfig)]:
        source = sorted((_CONFIGS / name).glob("*.yaml"))[0] if name != "products/export" else None
        values = yaml.safe_load((source or _CONFIGS / "products/export.yaml").read_text())
        file = folder / f"{name.replace('/', '-')}.yaml"
        found.append(Target(f"settings of {name}", file, values, _yaml, lambda k=kind, f=file: load(k, f)))
    return found


def campaign(world: World, folder: Path, seed: int, found: Found) -> None:
    """Documents until time is up."""
    folder.mkdir(parents=True)
    chance, documents = random.Random(seed), targets(world, folder)
    while not found.over:
        for document in documents:
            was = document.file.read_bytes() if document.file.exists() else b""
            fault = refused(document, mutated(document.values, chance))
            document.file.write_bytes(was)
            found.count(document.name, fault)


def mutated(values: Any, chance: random.Random) -> Any:
    """The values with one to three places changed, dropped, doubled or renamed."""
    made = copy.deepcopy(values)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        places = [*_places(made)]
        if not places:
            break
        holder, key = chance.choice(places)
        how = chance.random()
        if how < 0.1:
            del holder[key]
        elif how < 0.2 and isinstance(holder, dict):
            holder[chance.choice(["", "x" * 300, "ome", "zarr_format", "\udcff"])] = holder.pop(key)
        elif how < 0.3 and isinstance(holder, list):
            holder.extend([holder[key]] * chance.choice([1, 100]))
        else:
            holder[key] = copy.deepcopy(chance.choice(VALUES))
    return made


def refused(document: Target, values: Any) -> str:
    """What is wrong with how the document is read."""
    try:
        document.file.write_bytes(document.write(values).encode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError, yaml.YAMLError):
        return ""  # cannot be written down
    memory, began = _memory(), time.perf_counter()
    try:
        document.read()
    except UnetBatchError as error:
        if "\n" in str(error).strip() or len(str(error)) > 5000:
            return f"no single line: {error!s:.200}"
    except Exception as error:  # noqa: BLE001 - any other error is a fault, whatever it is
        return f"{type(error).__name__}: {error!s:.200} of {document.write(values):.10}"
    taken, grown = time.perf_counter() - began, _memory() - memory
    if taken > 10 * SECONDS:  # shared machines are slow; what is meant is that it does not hang
        return f"took {taken:.1f} s"
    return f"took {grown} MiB" if grown > MEBIBYTES else ""


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = [*value] if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _json(name: str, file: Path, read: Callable[[], object]) -> Target:
    return Target(
        name, file, json.loads(file.read_bytes()), lambda v: json.dumps(v, ensure_ascii=False), read
    )


def _yaml(values: Any) -> str:
    return yaml.safe_dump(values, allow_unicode=True)


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
