"""Image + checkpoint -> Masks: the whole story of a prediction, new or resumed."""

import platform
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.engine.hooks import Hooks
from unet_batch.engine.run import Run, open_blocks
from unet_batch.engine.worker_pool import WorkerPool, worker_pool
from unet_batch.errors import InputError, MissingError, PlanMismatchError, StoreBusyError, UnetBatchError
from unet_batch.prediction.autotuner import Autotuner, assume
from unet_batch.prediction.block import PredictWork
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.nodata import NoData
from unet_batch.prediction.output import classes_counted, layout_of
from unet_batch.prediction.plan import Plan
from unet_batch.prediction.planning import Choice, make_plan
from unet_batch.prediction.request import Request
from unet_batch.prediction.resources import threads, worker_count
from unet_batch.prediction.scale import remark
from unet_batch.prediction.status import Status, plan_of, status
from unet_batch.store.group import refuse_occupied
from unet_batch.store.journal import Status as BlockStatus
from unet_batch.store.ledger import Ledger
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
    prediction = _Prediction(request, str(out), hooks, axes)
    prediction.remark()
    if Path(out, "zarr.json").exists():
        prediction.resume(retry_failed=retry_failed)
    else:
        prediction.begin()
    return status(out)


class _Prediction:
    """One driver at work on one store."""

    def __init__(self, request: Request, out: str, hooks: Hooks, axes: str | None) -> None:
        self.request, self.out, self.axes = request, out, axes
        self.run = Run(out, hooks)

    def remark(self) -> None:
        """Tell what a person should know before hours are spent."""
        image, spec = self.request.image, self.request.spec
        if image.level and self.request.config.level == "auto":
            self.run.tell(f"level {image.level}, whose pixels are of the network's size")
        if said := remark(image, spec.pixel_size):
            self.run.tell(said)

    def begin(self) -> None:
        """A store that is not there yet."""
        config, created = self.request.config, False
        _check_output(Path(self.out))
        assume(self.request)  # a block or tile that cannot be is refused before any worker starts
        try:
            with self._crew() as crew:
                self.run.tell("choosing tile and backend")
                choice = crew.ask(
                    Autotuner(
                        self.request.image.path, self.request.models, config, self.axes, threads(config)
                    )
                )
                plan = make_plan(self.request, choice)
                _refuse_begun(Path(self.out))
                masks = Masks.create(self.out, layout_of(plan, self.request), self._attributes(plan, choice))
                created = True
                with self._new_ledger(plan) as ledger:
                    self._compute(plan, masks, ledger, crew, open_blocks(plan.blocks, ledger))
        except UnetBatchError as error:
            # Nothing to resume. A busy store is another driver's.
            if created and not self.run.record.blocks and not isinstance(error, StoreBusyError):
                Masks.discard(self.out)
            raise

    def resume(self, *, retry_failed: bool) -> None:
        """A store that an earlier run began; refused where the plan differs."""
        masks = Masks.open(self.out, writable=True)
        stored = plan_of(masks)
        plan = make_plan(self.request, settled(self.request, stored))
        if differences := plan.differences(stored):
            more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
            raise PlanMismatchError(
                f"{self.out}: belongs to another plan ({'; '.join(differences[:3])}{more}); "
                "use its settings, or write to another store"
            )
        with self._ledger(plan) as ledger:
            masks.clean_scratch()
            todo = open_blocks(plan.blocks, ledger, retry_failed=retry_failed)
            if not todo.size:
                self._end(masks, ledger)
                return
            self.run.tell(f"resuming: {todo.size} of {len(plan.blocks)} blocks are left")
            with self._crew() as crew:
                self._compute(plan, masks, ledger, crew, todo)

    @contextmanager
    def _crew(self) -> Iterator[WorkerPool]:
        config = self.request.config
        if config.scheduler is not None:
            seconds = f"{config.scheduler_seconds:g}"
            self.run.tell(f"asking {config.scheduler} for workers (scheduler_seconds: {seconds})")
        with worker_pool(config, worker_count(config), threads(config), self.run.hooks.stop) as crew:
            if crew.dashboard is not None:
                self.run.tell(f"dashboard: {crew.dashboard}")
            yield crew

    def _compute(
        self, plan: Plan, masks: Masks, ledger: Ledger, crew: WorkerPool, numbers: NDArray[np.int64]
    ) -> None:
        work = PredictWork(
            plan,
            self.request.image.path,
            self.out,
            self.request.models,
            self.request.config.device if plan.compute.device == "cuda" else "cpu",
            threads(self.request.config),
            max(1, worker_count(self.request.config)),
            -(-len(numbers) // crew.count()),
        )
        self.run.blocks(plan.blocks, work, ledger, crew.execute, numbers)
        self._end(masks, ledger)

    def _end(self, masks: Masks, ledger: Ledger) -> None:
        """Coarse levels, once no block is left; a kill before they are whole leaves them to the next run."""
        blocks = ledger.totals().blocks
        if blocks[BlockStatus.PENDING]:
            return
        if self.run.record.blocks or not masks.attributes.get("finished"):
            self.run.tell("writing the coarse levels")
            masks.finish()
            masks.stamp({"finished": True})
        elif failed := blocks[BlockStatus.FAILED]:
            self.run.tell(f"nothing to do: {failed} blocks were set aside; --retry-failed tries them again")
        else:
            self.run.tell("nothing to do: every block is in the store")

    def _new_ledger(self, plan: Plan) -> Ledger:
        ledger = Ledger.create(self.out, plan.blocks.counts, classes_counted(plan))
        unwanted = np.ones(len(plan.blocks), np.bool_)
        unwanted[plan.blocks.numbers_in(plan.region)] = False
        skipped = unwanted.reshape(plan.blocks.counts)
        empty = NoData.open(plan, self.request.image).empty_blocks()
        ledger.record_all(skipped if empty is None else skipped | empty, BlockStatus.SKIPPED)
        return ledger

    def _ledger(self, plan: Plan) -> Ledger:
        try:
            return Ledger.open(self.out, writable=True)
        except MissingError:  # killed between the creation of the store and that of its ledger
            return self._new_ledger(plan)

    def _attributes(self, plan: Plan, choice: Choice) -> dict[str, Any]:
        return {
            "plan": plan.model_dump(mode="json"),
            "plan_hash": plan.hash,
            "provenance": {
                "image": str(Path(self.request.image.path).resolve()),
                "models": [str(Path(m).resolve()) for m in self.request.models],
                "settings": self.request.config.model_dump(mode="json"),
                "given": self.request.config.model_dump(mode="json", exclude_defaults=True),
                "axes": self.axes,
                "trial_pixels_per_second": choice.rate,
                "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "host": socket.gethostname(),
                "machine": platform.platform(),
                "python": sys.version.split()[0],
                "versions": {name: v for name in PACKAGES if (v := _version(name))},
            },
        }


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


def _check_output(out: Path) -> None:
    refuse_occupied(str(out))
    in_labels = out.parent.name == "labels" and out.parent.parent.is_dir()
    if not out.parent.is_dir() and not in_labels:
        raise InputError(f"{out}: the folder {out.parent} does not exist; create it first")


def _refuse_begun(out: Path) -> None:
    """What was not there before the trial may be there after it."""
    if (out / "zarr.json").exists():
        raise StoreBusyError(f"{out}: another run began it in the meantime; once that has ended, run again")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
