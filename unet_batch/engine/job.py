"""BlockJob: resumable work by blocks. A verb describes it, ``run_job`` runs it; every verb works this way.

A job in full, with the smallest description that the engine takes: it doubles ten numbers, four at a time.

>>> import pathlib, numpy as np
>>> from unet_batch.engine.parts import Parts
>>> from unet_batch.engine.partial_folder import PartialFolder
>>> from unet_batch.engine.worker_pool import numpy_workers
>>> from unet_batch.schedule.events import Event
>>> from unet_batch.tiling import BlockGrid
>>> class DoublingPlan(Config):
...     numbers: int = 10
>>> class Doubling:
...     target = PartialFolder(pathlib.Path("doubled.npy"), suffix=".npy")
...     config, retry_failed = ExecutionConfig(workers=0), True
...     found = Parts("doubled.npy.partial/found")
...     def plan(self, stored, ask):
...         return DoublingPlan()
...     def create(self, plan):
...         pass                                    # ``finish`` makes the content
...     def workers(self, pixels):
...         return numpy_workers(self.config, pixels)
...     def passes(self, plan):
...         return [BlockPass(self.target.folder, BlockGrid((plan.numbers,), (4,)), lambda _: self.work)]
...     def work(self, number):                     # on a worker
...         own = np.arange(10)[4 * number : 4 * number + 4]
...         self.found.write(number, {"doubled": 2 * own})
...         return Event(number, "done")
...     def finish(self, plan, reporter):           # no block is open
...         parts = [self.found.read(number)["doubled"] for number in range(3)]
...         np.save(self.target.content, np.concatenate(parts))
...         return {}
...     def result(self, facts):                    # None: stopped early, or blocks are left
...         return facts is not None
>>> run_job(Doubling())
True
>>> np.load("doubled.npy").tolist()
[0, 2, 4, 6, 8, 10, 12, 14, 16, 18]

The engine owns the lock, the comparison of plans, ledger and history, workers and the ladder of tries, stops,
progress, finishing, publishing, and what killed runs leave. A job is daisy's Task
(https://github.com/funkelab/daisy) with a plan that is kept.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from unet_batch import unsynced
from unet_batch.config import Config
from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.passes import BlockPass, PassRun, open_blocks
from unet_batch.engine.plans import as_json, differences, refuse_other
from unet_batch.engine.progress import Hooks, Reporter
from unet_batch.engine.store_status import failures_of, state_counts
from unet_batch.engine.target import Facts, Target, lock_of, refuse_records, remove_bare
from unet_batch.engine.worker_pool import WorkerPool, Workers
from unet_batch.errors import DamageError, FormatError, InputError, OutputError, UnetBatchError
from unet_batch.store.journal import Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.lock import OutputLock

AnswerT = TypeVar("AnswerT")
PlanT = TypeVar("PlanT", bound=Config)
ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Ask(Protocol):
    """Asks a question on a worker, where blocks will be computed; its errors are raised here."""

    def __call__(self, question: Callable[[], AnswerT], message: str) -> AnswerT:
        """What ``question()`` gives; ``message`` says what is being found out."""


class BlockJob(Protocol[PlanT, ResultT_co]):
    """What is computed, by which blocks, and what becomes of them.

    Attributes:
        retry_failed: try blocks again that an earlier run set aside.
        config: who does the blocks.
    """

    @property
    def target(self) -> Target:
        """Where the output grows."""

    @property
    def retry_failed(self) -> bool:
        """Whether blocks are tried again that an earlier run set aside."""

    @property
    def config(self) -> ExecutionConfig:
        """Who does the blocks, and whether one is on the disk before it counts."""

    def plan(self, stored: Mapping[str, Any] | None, ask: Ask) -> PlanT:
        """What is computed; where it runs is not in it.

        ``stored`` is the plan, as JSON, that the output was begun with, for settings that follow it.
        """

    def create(self, plan: PlanT) -> None:
        """Make what blocks are written to; it need not be there afterwards if finishing makes it."""

    def workers(self, pixels: int) -> Workers:
        """Who does blocks of so many ``pixels`` in all."""

    def passes(self, plan: PlanT) -> Sequence[BlockPass]:
        """The blocks: one pass, or several of which each begins when the one before is complete."""

    def finish(self, plan: PlanT, reporter: Reporter) -> Facts:
        """Make the output whole, once no block is open; may be killed and repeated."""

    def result(self, facts: Facts | None) -> ResultT_co:
        """What the verb returns, once others are let in.

        ``facts`` are what ``finish`` gave; None where blocks are left.
        """


def run_job(job: BlockJob[PlanT, ResultT], hooks: Hooks = Hooks()) -> ResultT:
    """Do what is left of a job, from its plan to its published output.

    Raises:
        PlanMismatchError: the output was begun with another plan.
        StoreBusyError: another driver is at work on it.
        DamageError: blocks failed, of an output that cannot do without them.
        OutputError: the place cannot be written, or holds something else.
        UnetBatchError: what the job itself raises.
    """
    target = job.target
    target.check()
    with lock_of(target) as lock, unsynced.collected(job.config.durability):
        facts = _JobRun(job, hooks, lock).run()
    return job.result(facts)


class _JobRun(Generic[PlanT, ResultT]):
    """One driver at work on one job, whose lock it holds."""

    def __init__(self, job: BlockJob[PlanT, ResultT], hooks: Hooks, lock: OutputLock) -> None:
        self.job, self.target, self.lock = job, job.target, lock
        self.reporter = Reporter(hooks)
        self.begun_here = self.resumed = False
        self.pool: WorkerPool | None = None
        self.place_before: object = None

    def run(self) -> Facts | None:
        """Facts of the published output; None where blocks are left."""
        try:
            self.target.check()
            self.place_before = _seen_at(self.target.place)
            stored = self.target.stored_plan()
            with ExitStack() as closing:
                plan, found = self._planned(stored, partial(self._ask, closing))
                self._begin(plan, stored, found)
                facts = self.target.published()
                whole = facts is not None or self._passes(self.job.passes(plan), closing)
            return self._finished(plan, facts) if whole else None
        except UnetBatchError as error:
            self._clear(error)
            raise

    def _planned(self, stored: Mapping[str, Any] | None, ask: Ask) -> tuple[PlanT, list[str]]:
        """The plan, and why an output that was begun with the plan ``stored`` is not gone on with.

        Where it begins anew what is automatic is decided anew, too.
        """
        if stored is None:
            return self.job.plan(None, ask), []
        if self.target.is_replaced():
            return self.job.plan(None, ask), ["it is finished"]
        try:
            plan = self.job.plan(stored, ask)
        except InputError:  # what was decided for another network, say, need not suit this one
            if not self.target.may_begin_anew():
                raise
            return self.job.plan(None, ask), ["it was begun with settings that do not suit"]
        found = differences(as_json(plan), stored)
        if found and self.target.may_begin_anew():
            plan = self.job.plan(None, ask)
        return plan, found

    def _begin(self, plan: PlanT, stored: Mapping[str, Any] | None, found: list[str]) -> None:
        """The output is there afterwards, new or as an earlier run left it; ``found`` says why not."""
        if stored is not None and not found:
            self.resumed = True
            self.target.reopen()
            return
        if stored is None:
            refuse_records(self.target.folder)
        elif not self.target.may_begin_anew():
            if self.target.published() is not None:
                self.target.discard()
                self.target.check()  # the output that is published is in the way
            refuse_other(str(self.target.folder), found, self.target.cure)
        self.begun_here = True
        self.target.clear()
        self.job.create(plan)
        unsynced.sync()  # the plan stands for what was created
        self.target.keep(plan)

    def _passes(self, passes: Sequence[BlockPass], closing: ExitStack) -> bool:
        """Do the passes in turn; False where a stop left blocks to the next run."""
        for number, one in enumerate(passes):
            one.prepare()
            later = sum(other.left() for other in passes[number + 1 :])
            with one.ledger(self.lock if one.folder == self.target.folder else None) as ledger:
                if not self._complete(one, ledger, later, closing):
                    return False
                one.complete()
        return True

    def _complete(self, one: BlockPass, ledger: Ledger, later: int, closing: ExitStack) -> bool:
        """Do what is left of a pass; whether no block is open afterwards."""
        for line in ledger.damage:
            self.reporter.notify(f"{ledger.folder}: {line}")
        if self.resumed and (gone := one.forget_lost(ledger)):
            self.reporter.notify(f"{gone} blocks of an earlier run are gone: they are done again")
        retry = self.job.retry_failed or not self.target.keeps_failed
        todo = open_blocks(one.blocks, ledger, retry_failed=retry)
        self.reporter.begin_pass(int(todo.size) + later)
        if todo.size:
            if self.resumed:
                self.reporter.notify(f"resuming: {todo.size} of {len(one.blocks)} blocks are left")
            pixels = min(prod(one.blocks.shape), int(todo.size) * prod(one.blocks.block))
            pool = self._workers(pixels, closing)
            work = one.work(-(-int(todo.size) // pool.count()))
            PassRun(one, ledger, self.reporter, self.job.config.durability).run(pool.execute, work, todo)
        counts = ledger.totals().blocks
        if counts[Status.FAILED] and not self.target.keeps_failed:
            raise DamageError(
                f"{self.target.folder}: {counts[Status.FAILED]} blocks failed "
                f"({failures_of(one.folder)[-1]:.300}); mend the cause (`unet-batch verify STORE --repair` "
                "where it is damage) and run this again"
            )
        return not counts[Status.PENDING]

    def _finished(self, plan: PlanT, facts: Facts | None) -> Facts:
        """Facts of the output, whole and in its place; given ``facts``, it was already."""
        if facts is None and not self.reporter.blocks_done and self.target.finished():
            facts = {}
        if facts is None:
            facts = self.job.finish(plan, self.reporter)
        elif failed := state_counts(self.target.folder).get("failed", 0):
            self.reporter.notify(
                f"nothing to do: {failed} blocks were set aside; --retry-failed tries them again"
            )
        else:
            self.reporter.notify("nothing to do: every block is in the store")
        unsynced.sync()
        if self.target.published() is None and _seen_at(self.target.place) != self.place_before:
            self.target.check()
            raise OutputError(
                f"{self.target.place}: another program wrote it during this run; move it away, or run this "
                "again to replace it"
            )
        self.target.publish(facts)
        return facts

    def _clear(self, error: UnetBatchError) -> None:
        """After an error, leave nothing behind that nobody could go on with; all of it is this run's own.

        Where the source turns out to be unreadable, that includes blocks.
        """
        unreadable = isinstance(error, FormatError) and not self.target.keeps_failed
        if not self.begun_here:
            remove_bare(self.target.folder)
        elif unreadable or not self.reporter.blocks_done:
            self.target.discard()

    def _ask(self, closing: ExitStack, question: Callable[[], AnswerT], message: str) -> AnswerT:
        pool = self._workers(0, closing)
        self.reporter.notify(message)
        return pool.ask(question)

    def _workers(self, pixels: int, closing: ExitStack) -> WorkerPool:
        """The workers of this run, started when they are first needed."""
        if self.pool is None:
            chosen = self.job.workers(pixels)
            if (scheduler := chosen.config.scheduler) is not None:
                seconds = f"{chosen.config.scheduler_seconds:g}"
                self.reporter.notify(f"asking {scheduler} for workers (scheduler_seconds: {seconds})")
            self.pool = closing.enter_context(chosen.open(self.reporter.hooks.stop))
            if self.pool.dashboard is not None:
                self.reporter.notify(f"dashboard: {self.pool.dashboard}")
        return self.pool


def _seen_at(place: Path | None) -> object:
    """What lies at an output's place, so that something else there is told from it."""
    try:
        seen = None if place is None else place.stat()
    except OSError:
        return None
    return seen and (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)
