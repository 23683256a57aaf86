"""Image + checkpoint -> Masks: the whole story of a prediction, new or resumed.

>>> config = PredictConfig(workers=0, backend="eager", precision="fp32", block=128, tile=32)
>>> found = predict("image.zarr", "new.zarr", "net.safetensors", config)
>>> found.state, found.blocks["done"]
('done', 4)
"""

import platform
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.engine.job import Ask, run_job
from unet_batch.engine.passes import BlockPass
from unet_batch.engine.plans import as_json
from unet_batch.engine.progress import Hooks, Reporter
from unet_batch.engine.target import Facts, InPlaceStore, sweep
from unet_batch.engine.worker_pool import Workers
from unet_batch.errors import InputError
from unet_batch.prediction.autotuner import Autotuner, assume
from unet_batch.prediction.block import PredictWork
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.nodata import NoData
from unet_batch.prediction.output import classes_counted, layout_of
from unet_batch.prediction.plan import Choice, Plan
from unet_batch.prediction.planning import make_plan
from unet_batch.prediction.request import Request
from unet_batch.prediction.resources import on_gpus, small, threads, worker_count
from unet_batch.prediction.scale import remark
from unet_batch.prediction.status import Status, plan_of, status
from unet_batch.prediction.tissue import Tissue
from unet_batch.store.group import refuse_occupied
from unet_batch.store.masks import Masks

PACKAGES = ("unet-batch", "torch", "openvino", "zarr", "zarrs", "numpy", "dask")


def predict(
    image: str | Path,
    out: str | Path,
    model: str | Path | Sequence[str | Path],
    config: PredictConfig | None = None,
    *,
    axes: str | None = None,
    retry_failed: bool = False,
    hooks: Hooks = Hooks(),
) -> Status:
    """Segment ``image`` with one checkpoint, or the mean of several, into the mask store ``out``.

    A store that is there already is resumed: finished blocks are not computed again, and a finished store
    is left alone. Settings that are ``auto`` take what the store was begun with.

    Args:
        image: OME-Zarr image or plain Zarr array.
        out: mask store; ``IMAGE/labels/NAME`` registers it there.
        model: checkpoint(s).
        config: settings; all automatic by default.
        axes: of a plain array without dimension names, e.g. ``zyx``.
        retry_failed: try blocks again that were set aside.
        hooks: to watch the run and to end it early.

    Raises:
        UnetBatchError: input that cannot be used, or a store that belongs to another plan or driver.
    """
    models = [str(m) for m in ([model] if isinstance(model, str | Path) else model)]
    request = Request.open(str(image), models, config or PredictConfig(), axes)
    notify = Reporter(hooks).notify
    for line in _remarks(request):
        notify(line)
    store = MaskStore(str(out), request.config.overwrite)
    return run_job(PredictJob(request, store, axes, retry_failed, notify), hooks)


class MaskStore(InPlaceStore):
    """A mask store, whose plan is among its attributes."""

    def check(self) -> None:
        """Refuse a place that holds something else than a mask store."""
        if self.stored_plan() is not None:  # no other store may get a ledger's lock
            return
        refuse_occupied(self.path)
        in_labels = self.folder.parent.name == "labels" and self.folder.parent.parent.is_dir()
        if not self.folder.parent.is_dir() and not in_labels:
            raise InputError(f"{self.path}: the folder {self.folder.parent} does not exist; create it first")

    def stored_plan(self) -> dict[str, Any] | None:
        """The plan that the store was begun with, read as this version has it."""
        if not (self.folder / "zarr.json").exists():
            return None
        return as_json(plan_of(Masks.open(self.path, writable=True)))

    def reopen(self) -> None:
        """Remove what killed writers left."""
        sweep(self.folder)
        Masks.open(self.path, writable=True).clean_scratch()

    def discard(self) -> None:
        """Remove the store, and its entry in an image."""
        Masks.discard(self.path)

    def finished(self) -> bool:
        """Whether the coarse levels are there."""
        return bool(Masks.open(self.path).attributes.get("finished"))

    def publish(self, facts: Facts) -> None:
        """Say in the store that its coarse levels are there."""
        del facts
        if not self.finished():
            Masks.open(self.path, writable=True).stamp({"finished": True})


class PredictJob:
    """The prediction of one image, new or resumed.

    Args:
        request: image, networks and settings, open.
        target: the mask store.
        axes: of a plain array, as the caller said.
        retry_failed: try blocks again that were set aside.
        notify: takes lines for a person.
    """

    def __init__(
        self,
        request: Request,
        target: MaskStore,
        axes: str | None,
        retry_failed: bool,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.request, self.target, self.axes, self.retry_failed = request, target, axes, retry_failed
        self.notify = notify
        self.rate: float | None = None

    @property
    def config(self) -> PredictConfig:
        """The settings."""
        return self.request.config

    def plan(self, stored: Mapping[str, Any] | None, ask: Ask) -> Plan:
        """What ``auto`` means comes from the store, or from a trial where the blocks will be computed."""
        if stored is not None:
            begun = Plan.model_validate(stored)
            self.request = self.request.as_begun(begun.image)
            return make_plan(self.request, settled(self.request, begun))
        request, config = self.request, self.request.config
        assume(request)  # a block or tile that cannot be is refused before any worker starts
        tuner = Autotuner(request.image.path, request.models, config, self.axes, threads(config))
        choice = ask(tuner, "choosing tile and backend")
        self.rate = choice.rate
        for line in choice.remarks:
            self.notify(line)
        return make_plan(request, choice)

    def create(self, plan: Plan) -> None:
        """The store; its root metadata, with the plan, comes last."""
        attributes = {"plan": plan.model_dump(mode="json"), "plan_hash": plan.hash}
        provenance = self._provenance()
        layout = layout_of(plan, self.request)
        Masks.create(self.target.path, layout, {**attributes, "provenance": provenance}, locked=True)

    def workers(self, pixels: int) -> Workers:
        """One for each device; none for a small image, whose work takes less time than a process to start."""
        del pixels
        config = self.request.config
        count = 0 if small(config, prod(b - a for a, b in self.request.roi)) else worker_count(config)
        return Workers(config, count, threads(config), on_gpus=on_gpus(config))

    def passes(self, plan: Plan) -> list[BlockPass]:
        """One pass, whose ledger is in the store."""
        work = partial(self._work, plan)
        classes, skipped = classes_counted(plan), partial(self._skipped, plan)
        lost = Masks.open(self.target.path).lost_blocks
        return [BlockPass(self.target.folder, plan.blocks, work, classes, skipped, lost=lost)]

    def finish(self, plan: Plan, reporter: Reporter) -> Facts:
        """Coarse levels; a kill before they are whole leaves them to the next run."""
        del plan
        reporter.notify("writing the coarse levels")
        Masks.open(self.target.path, writable=True).finish()
        return {}

    def result(self, facts: Facts | None) -> Status:
        """Where the store stands."""
        del facts
        return status(self.target.path)

    def _work(self, plan: Plan, blocks_each: int) -> PredictWork:
        config = self.request.config
        return PredictWork(
            plan,
            self.request.image.path,
            self.target.path,
            self.request.models,
            device_of(config, plan),
            threads(config),
            max(1, worker_count(config)),
            blocks_each,
        )

    def _skipped(self, plan: Plan) -> NDArray[np.bool_]:
        """Blocks outside the region, and those that the image has no data of."""
        outside = np.ones(len(plan.blocks), np.bool_)
        outside[plan.blocks.numbers_in(plan.region)] = False
        skipped = outside.reshape(plan.blocks.counts)
        if plan.select.skip_background == "tissue":
            skipped = skipped | self._tissue(plan).without(plan.blocks)
        empty = NoData.open(plan, self.request.image).empty_blocks()
        return skipped if empty is None else skipped | empty

    def _tissue(self, plan: Plan) -> Tissue:
        """Where there is any; its share is kept in the store."""
        found = Tissue.of(self.request.image, plan.image.channels)
        masks = Masks.open(self.target.path, writable=True)
        if masks.attributes.get("tissue_share") is None:
            masks.stamp({"tissue_share": round(found.share, 6)})
        return found

    def _provenance(self) -> dict[str, Any]:
        config = self.request.config
        return {
            "image": str(Path(self.request.image.path).resolve()),
            "models": [str(Path(m).resolve()) for m in self.request.models],
            "settings": config.model_dump(mode="json"),
            "given": config.model_dump(mode="json", exclude_defaults=True),
            "axes": self.axes,
            "trial_pixels_per_second": self.rate,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "host": socket.gethostname(),
            "machine": platform.platform(),
            "python": sys.version.split()[0],
            "versions": {name: v for name in PACKAGES if (v := _version(name))},
        }


def _remarks(request: Request) -> Iterator[str]:
    """What a person should know before hours are spent."""
    image, spec = request.image, request.spec
    if image.view.resample:
        yield f"level {image.level}, resampled to the network's pixels of {spec.pixel_size:g}"
    elif image.level and request.config.level == "auto":
        yield f"level {image.level}, whose pixels are of the network's size"
    if said := remark(image, spec.pixel_size):
        yield said


def device_of(config: PredictConfig, plan: Plan) -> str:
    """The device that the caller's settings name; ``auto`` is any of the plan's kind."""
    return plan.compute.device if config.device == "auto" else config.device


def settled(request: Request, stored: Plan) -> Choice:
    """What ``auto`` means for a store that was begun with the plan ``stored``; explicit settings win."""
    given, dims = assume(request), stored.spec.dims
    config, compute = request.config, stored.compute
    return replace(
        given,
        device=compute.device if config.device == "auto" else given.device,
        precision=compute.precision if config.precision == "auto" else given.precision,
        backend=compute.backend if config.backend == "auto" else given.backend,
        tile=stored.grid.tile[-dims:] if config.tile == "auto" else given.tile,
        batch=compute.batch if config.batch == "auto" else given.batch,
        threads=compute.threads if config.threads == "auto" else None,
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
