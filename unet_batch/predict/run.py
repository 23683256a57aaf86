"""Image + checkpoint -> Masks: the whole story of a prediction, new or resumed."""

import platform
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError, MissingError, PlanMismatchError, StoreBusyError, UnetBatchError
from unet_batch.predict import history
from unet_batch.predict.block import PredictWork
from unet_batch.predict.config import PredictConfig
from unet_batch.predict.output import classes_counted, entry_of, layout_of
from unet_batch.predict.plan import Plan
from unet_batch.predict.planning import Choice, make_plan
from unet_batch.predict.request import Request
from unet_batch.predict.resources import threads
from unet_batch.predict.status import Status, plan_of, status
from unet_batch.predict.trial import Trial, assume
from unet_batch.predict.workers import Workers, workers
from unet_batch.schedule.events import Event, Executor, Stop
from unet_batch.store.group import refuse_occupied
from unet_batch.store.journal import Entry
from unet_batch.store.journal import Status as BlockStatus
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks import Masks

FLUSH_SECONDS = 5.0
PACKAGES = ("unet-batch", "torch", "openvino", "zarr", "zarrs", "numpy", "dask")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands after an event. ``message`` is set where something else than a block happened."""

    blocks_done: int
    blocks_total: int
    pixels: int
    seconds: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class Hooks:
    """How a caller watches and ends a run.

    Attributes:
        observe: called after every block with its event, and with None and a message in between.
        stop: asked between blocks; once true, blocks under way end and the rest waits for the next run.
    """

    observe: Callable[[Event | None, Progress], None] = lambda _event, _progress: None
    stop: Stop = lambda: False


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
    run = _Run(request, str(out), hooks, axes)
    if Path(out, "zarr.json").exists():
        run.resume(retry_failed=retry_failed)
    else:
        run.begin()
    return status(out)


class _Run:
    """One driver at work on one store."""

    def __init__(self, request: Request, out: str, hooks: Hooks, axes: str | None) -> None:
        self.request, self.out, self.hooks, self.axes = request, out, hooks, axes
        self.record = history.RunRecord(socket.gethostname(), time.time())

    def begin(self) -> None:
        """A store that is not there yet."""
        config, created = self.request.config, False
        _check_output(Path(self.out))
        assume(self.request)  # a block or tile that cannot be is refused before any worker starts
        try:
            with self._crew() as crew:
                self._tell("choosing tile and backend")
                choice = crew.ask(
                    Trial(self.request.image.path, self.request.models, config, self.axes, threads(config))
                )
                plan = make_plan(self.request, choice)
                masks = Masks.create(self.out, layout_of(plan, self.request), self._attributes(plan, choice))
                created = True
                with self._new_ledger(plan) as ledger:
                    self._compute(plan, masks, ledger, crew.execute, _selected(plan))
        except UnetBatchError as error:
            # Nothing to resume. A busy store is another driver's.
            if created and not self.record.blocks and not isinstance(error, StoreBusyError):
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
            todo = _todo(plan, ledger, retry_failed=retry_failed)
            if not todo.size:
                self._end(masks, ledger)
                return
            self._tell(f"resuming: {todo.size} of {len(plan.tiling)} blocks are left")
            with self._crew() as crew:
                self._compute(plan, masks, ledger, crew.execute, todo)

    @contextmanager
    def _crew(self) -> Iterator[Workers]:
        with workers(self.request.config) as crew:
            if crew.dashboard is not None:
                self._tell(f"dashboard: {crew.dashboard}")
            yield crew

    def _compute(
        self, plan: Plan, masks: Masks, ledger: Ledger, execute: Executor, numbers: NDArray[np.int64]
    ) -> None:
        work = PredictWork(
            plan,
            self.request.image.path,
            self.out,
            self.request.models,
            self.request.config.device if plan.compute.device == "cuda" else "cpu",
            threads(self.request.config),
        )
        grid, ordered = plan.tiling, plan.tiling.z_order(numbers)
        begun = flushed = time.monotonic()
        try:
            for event in execute(work, map(int, ordered), self.hooks.stop):
                block = grid.at(event.number)
                ledger.record(entry_of(event, block.index))
                self.record.add(event, block.box.size, time.monotonic() - begun)
                self._observe(event, len(ordered))
                if time.monotonic() - flushed > FLUSH_SECONDS:
                    ledger.flush()
                    flushed = time.monotonic()
            self._end(masks, ledger)
        finally:
            history.append(self.out, self.record)

    def _end(self, masks: Masks, ledger: Ledger) -> None:
        """Coarse levels, once no block is left; a kill before they are whole leaves them to the next run."""
        blocks = ledger.totals().blocks
        if blocks[BlockStatus.PENDING]:
            return
        if self.record.blocks or not masks.attributes.get("finished"):
            self._tell("writing the coarse levels")
            masks.finish()
            masks.stamp({"finished": True})
        elif failed := blocks[BlockStatus.FAILED]:
            self._tell(f"nothing to do: {failed} blocks were set aside; --retry-failed tries them again")
        else:
            self._tell("nothing to do: every block is in the store")

    def _new_ledger(self, plan: Plan) -> Ledger:
        ledger = Ledger.create(self.out, plan.tiling.counts, classes_counted(plan))
        wanted = np.zeros(len(plan.tiling), np.bool_)
        wanted[_selected(plan)] = True
        for number in np.flatnonzero(~wanted):
            ledger.record(Entry(plan.tiling.at(int(number)).index, BlockStatus.SKIPPED))
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
                "trial_pixels_per_second": choice.rate,
                "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "host": socket.gethostname(),
                "machine": platform.platform(),
                "python": sys.version.split()[0],
                "versions": {name: v for name in PACKAGES if (v := _version(name))},
            },
        }

    def _observe(self, event: Event | None, total: int, message: str = "") -> None:
        done = sum(self.record.blocks.values())
        self.hooks.observe(event, Progress(done, total, self.record.pixels, self.record.seconds, message))

    def _tell(self, message: str) -> None:
        self._observe(None, 0, message)


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
    )


def _todo(plan: Plan, ledger: Ledger, *, retry_failed: bool) -> NDArray[np.int64]:
    wanted = [BlockStatus.PENDING] + ([BlockStatus.FAILED] if retry_failed else [])
    indices = ledger.with_status(*wanted)
    return np.asarray(np.ravel_multi_index(tuple(indices.T), plan.tiling.counts), np.int64)


def _selected(plan: Plan) -> NDArray[np.int64]:
    return plan.tiling.numbers_in(plan.region)


def _check_output(out: Path) -> None:
    refuse_occupied(str(out))
    in_labels = out.parent.name == "labels" and out.parent.parent.is_dir()
    if not out.parent.is_dir() and not in_labels:
        raise InputError(f"{out}: the folder {out.parent} does not exist; create it first")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
