"""Many images, one after the other, largest first, with one pool of workers; each has a store of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

from unet_batch.calls import checked
from unet_batch.engine.progress import Hooks, Progress
from unet_batch.engine.worker_pool import kept
from unet_batch.errors import (
    InputError,
    MissingError,
    OutputError,
    StoreBusyError,
    UnetBatchError,
    UnfinishedError,
)
from unet_batch.formats.image import is_foreign, open_image
from unet_batch.formats.opening import known, stem_of
from unet_batch.models.checkpoint import read_spec
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.resources import on_gpus, threads, worker_count
from unet_batch.prediction.run import predict
from unet_batch.prediction.status import Status
from unet_batch.schedule.events import Event
from unet_batch.store.level import View

MARKS = ("zarr.json", ".zgroup", ".zarray")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image.

    Attributes:
        image: path as it was given or found.
        out: its mask store.
        state: of the store (``done``, ``failed``, ``incomplete``); ``refused``: the image or store cannot be
            used; ``busy``: another run writes the store; ``waiting``: a stop came before its turn.
        error: why it was refused; empty otherwise.
        status: of the store, where it was looked at.
    """

    image: str
    out: str
    state: str
    error: str = ""
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Hooks of many runs: ``observe`` also gets the image's path."""

    observe: Callable[[str, Event | None, Progress], None] = lambda _image, _event, _progress: None
    stop: Callable[[], bool] = lambda: False


@checked
def predict_many(
    images: Sequence[str | Path],
    out_folder: str | Path,
    model: str | Path | Sequence[str | Path],
    config: PredictConfig | None = None,
    *,
    axes: str | None = None,
    retry_failed: bool = False,
    watch: Watch = Watch(),
) -> list[Outcome]:
    """Segment ``images`` into stores of their names in ``out_folder``; run again to go on.

    An image that cannot be used is told of in its outcome and does not stop the others.

    Args:
        images: Zarr images, folders of them, and text files (.txt) with one path a line.
        out_folder: made if it is not there.
        model: checkpoint(s), for all of them.
        config: settings, for all of them.
        axes: as of ``predict``.
        retry_failed: as of ``predict``.
        watch: to watch the runs and to end them early.

    Returns:
        An outcome for each image, in the order of work: largest first, what cannot be opened last.

    Raises:
        UnetBatchError: what concerns them all: no image, two of one name, a checkpoint that cannot be used,
            a full disk, a lost cluster.
    """
    config = config or PredictConfig()
    models = [str(m) for m in ([model] if isinstance(model, str | Path) else model)]
    for one in models:
        read_spec(Path(one))
    stores = _stores(found_in(images), Path(out_folder))
    ordered = sorted(stores, key=lambda image: -_pixels(image, axes, config))
    with kept(config, worker_count(config), threads(config), on_gpus=on_gpus(config)) as shared:
        run = partial(predict, model=models, config=shared, axes=axes, retry_failed=retry_failed)
        return [_outcome(image, stores[image], watch, run) for image in ordered]


def found_in(places: Sequence[str | Path]) -> list[str]:
    """The images that ``places`` name, each once.

    Raises:
        MissingError: no such place.
        InputError: a folder or list without images.
    """
    found: dict[str, None] = {}
    for place in map(Path, places):
        if any((place / mark).is_file() for mark in MARKS):
            some = [str(place)]
        elif place.is_dir():
            some = [str(p) for p in sorted(place.iterdir()) if p.suffix == ".zarr" or _is_zarr(p) or known(p)]
        elif place.suffix != ".txt" and is_foreign(place):
            some = [str(place)]
        elif place.is_file():
            some = _listed(place)
        else:
            raise MissingError(f"{place}: no such image, folder or list; check the path")
        if not some:
            raise InputError(f"{place}: no images in it that are read; see `unet-batch formats`")
        found.update(dict.fromkeys(some))
    return [*found]


def _is_zarr(path: Path) -> bool:
    return any((path / mark).is_file() for mark in MARKS)


def _listed(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path}: neither a Zarr image nor a list of paths; ingest it first") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _stores(images: Sequence[str], folder: Path) -> dict[str, str]:
    stores: dict[str, str] = {}
    names = [stem_of(image).removesuffix(".zarr").removesuffix(".ome") for image in images]
    for image, own in zip(images, names, strict=True):
        # CASE1/image.zarr and CASE2/image.zarr are known by their folders.
        name = own if names.count(own) == 1 else Path(image).absolute().parent.name or own
        out = str(folder / f"{name}.zarr")
        if other := next((i for i, o in stores.items() if o == out), None):
            raise InputError(
                f"{image}: would have the same store {out} as {other}; rename one, or run them apart"
            )
        if Path(out).absolute() == Path(image).absolute():
            raise InputError(f"{image}: its masks would replace it; choose another output folder")
        stores[image] = out
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from None
    return stores


def _pixels(image: str, axes: str | None, config: PredictConfig) -> int:
    try:
        return prod(open_image(image, View(axes, config.series)).shape)
    except UnetBatchError:
        return -1  # said when its turn comes


def _outcome(image: str, out: str, watch: Watch, run: Callable[..., Status]) -> Outcome:
    if watch.stop():
        return Outcome(image, out, "waiting")
    hooks = Hooks(lambda event, progress: watch.observe(image, event, progress), watch.stop)
    try:
        found = run(image, out, hooks=hooks)
    except (OutputError, UnfinishedError):
        raise
    except StoreBusyError as error:
        return Outcome(image, out, "busy", str(error))
    except UnetBatchError as error:
        return Outcome(image, out, "refused", str(error))
    return Outcome(image, out, found.state, status=found)
