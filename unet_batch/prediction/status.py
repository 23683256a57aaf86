"""Status: what a mask store says of itself. Reads the plan and the ledger, nothing else."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unet_batch.calls import checked
from unet_batch.engine import history
from unet_batch.engine.store_status import failures_of, state_of, sum_stages
from unet_batch.errors import FormatError, text_of
from unet_batch.prediction.plan import Plan
from unet_batch.store.journal import Status as BlockStatus
from unet_batch.store.ledger import FOLDER, Ledger
from unet_batch.store.lock import OutputLock
from unet_batch.store.masks import Masks


@dataclass(frozen=True, slots=True)
class Status:
    """State of a store.

    Attributes:
        state: ``running`` (a driver is at work), ``incomplete`` (none is, work is left), ``failed``
            (ended, some blocks set aside) or ``done``.
        blocks: total, done, skipped, failed, pending.
        pixels: pixels of all done blocks.
        class_pixels: pixels per class name.
        seconds: wall seconds of all runs.
        pixels_per_second: rate of the run that goes on, else of the last one that computed something.
        seconds_left: of the run that goes on, at the rate so far; None where it cannot be told.
        jobs: of a batch system, that work on the store now; the driver's first.
        read_amplification: bytes decoded for each byte needed, over all runs.
        stages: worker seconds by stage, over all runs.
        untiled_max_abs_diff: largest difference to an untiled pass that ``verify --untiled`` found.
        failures: the last lines of the log of failures.
        remarks: what workers did otherwise than planned, such as smaller tiles where memory ended.
    """

    path: str
    state: str
    plan_hash: str
    exact: bool
    blocks: Mapping[str, int]
    pixels: int
    class_pixels: Mapping[str, int]
    seconds: float
    pixels_per_second: float
    seconds_left: float | None
    jobs: Sequence[str]
    read_amplification: float | None
    stages: Mapping[str, float]
    untiled_max_abs_diff: float | None
    failures: Sequence[str]
    remarks: Sequence[str]


@checked
def status(path: str | Path) -> Status:
    """The state of the mask store at ``path``, also while a run is writing it.

    Raises:
        MissingError, FormatError: no mask store there.
    """
    masks = Masks.open(path)
    plan = plan_of(masks)
    ledger = Ledger.open(path)
    running = OutputLock.held(Path(path) / FOLDER / "lock")
    now = history.current(str(path)) if running else None
    totals, runs = ledger.totals(), history.read(str(path)) + ([now] if now else [])
    counts = {s.name.lower(): n for s, n in totals.blocks.items()}
    names = plan.spec.classes if plan.spec.head != "regression" else ("values",)
    busy = [run for run in runs if run.pixels]
    decoded, needed = sum(run.decoded_bytes for run in runs), sum(run.needed_bytes for run in runs)
    return Status(
        path=str(path),
        state="running" if running else state_of(counts, finished=bool(masks.attributes.get("finished"))),
        plan_hash=plan.hash,
        exact=plan.exact,
        blocks={"total": sum(counts.values()), **counts},
        pixels=plan.blocks.pixels(np.equal(ledger.statuses, BlockStatus.DONE)),
        class_pixels=dict(zip(names, totals.class_counts, strict=True)),
        seconds=sum(run.seconds for run in runs),
        pixels_per_second=busy[-1].pixels_per_second if busy else 0.0,
        seconds_left=_seconds_left(now, counts["pending"]),
        jobs=now.jobs if now else (),
        read_amplification=decoded / needed if needed else None,
        stages=sum_stages(run.stages for run in runs),
        untiled_max_abs_diff=masks.attributes.get("untiled_max_abs_diff"),
        failures=failures_of(path),
        remarks=list(dict.fromkeys(remark for run in runs for remark in run.remarks)),
    )


def plan_of(masks: Masks) -> Plan:
    """The plan that a store belongs to.

    Raises:
        FormatError: none, or one of another version of this program.
    """
    try:
        stored = masks.attributes["plan"]
        if "plan_hash" in masks.attributes:
            _require_hash(stored, masks.attributes["plan_hash"])
        return Plan.model_validate(stored)
    except (KeyError, ValueError) as error:
        reason = text_of(error, 120)
        raise FormatError(f"{masks.path}: its plan cannot be read ({reason}); predict it anew") from None


def _require_hash(stored: object, wanted: object) -> None:
    """Raise ValueError where a plan is not as it was written."""
    if hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest() != wanted:
        raise ValueError("it is not as it was written")


def _seconds_left(now: history.RunRecord | None, pending: int) -> float | None:
    settled = sum(now.blocks.values()) if now else 0
    return now.seconds / settled * pending if now and settled else None
