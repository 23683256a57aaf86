"""The training loop: step after step, validated and saved on the way, until the last or a request to stop."""

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from unet_batch.devices.device import open_device
from unet_batch.errors import TrainingError
from unet_batch.training.batches import Batches, open_batches
from unet_batch.training.checkpointing import save_last_and_best
from unet_batch.training.evaluator import Scores
from unet_batch.training.history import History
from unet_batch.training.hooks import Progress
from unet_batch.training.log import Log, Row
from unet_batch.training.trainer import Trainer

Ended = Literal["steps", "stopped", "patience", "hook"]
"""What ended a run: its last step, a stop that the next call goes on from, no better score, or the caller."""

_PACE_STEPS = 20
_NAMED_BOXES = 4


def run_updates(trainer: Trainer, history: History | None) -> Ended:
    """Train from the trainer's step on, to the last one or until something ends it before.

    Raises:
        TrainingError: too many steps in a row without a finite loss; it names what they saw.
    """
    state, steps = trainer.state, trainer.config.run.steps
    log = Log(open_device(str(trainer.ranks.device)))
    pace = _Pace(state.step, state.seconds)
    with open_batches(trainer) as batches:
        while state.step < steps:
            asked, finishing = _asked(trainer)
            _update(trainer, batches, pace, log)
            stopping = asked and state.step < steps
            validating = finishing or _due(trainer, trainer.config.validation.every)
            saving = finishing or stopping or _due(trainer, trainer.config.run.checkpoint_every)
            if log.due or validating or saving:
                rows = log.read()
                _count_skipped(trainer, rows)
                scores = _validate(trainer) if validating else {}
                _tell(trainer, history, pace, rows, scores)
            if saving:
                _save(trainer, history)
            if stopping:
                return "stopped"
            if finishing or (validating and _worn_out(trainer)):
                return "hook" if finishing else "patience"
    return "steps"


def _asked(trainer: Trainer) -> tuple[bool, bool]:
    """Whether the run should stop, or come to its end, after the coming step; the same on all ranks."""
    stop, finish = _stop_wanted(trainer), trainer.hooks.finish()
    if not trainer.ranks.any(stop or finish):
        return False, False
    finishing = trainer.ranks.any(finish)
    return not finishing, finishing


def _worn_out(trainer: Trainer) -> bool:
    """Whether the best score is as many validations old as the settings bear with."""
    config, state = trainer.config.validation, trainer.state
    if config.patience is None or not state.last_scores:
        return False
    return state.step - state.best_step >= config.patience * config.every


def _update(trainer: Trainer, batches: Batches, pace: "_Pace", log: Log) -> None:
    """One update, enqueued; what it came to is not read yet."""
    state = trainer.state
    prepared = batches()
    _seed(trainer.config.run.seed, state.step, trainer.ranks.rank)
    rate = trainer.lr_scheduler(state.step)
    result = trainer.step(prepared.parts, state.step, rate)
    state.step += 1
    pace.count(trainer, batches.waited)
    log.add(Row(state.step, rate, pace.steps_per_second, pace.waiting, prepared.batch.where), result)


def _count_skipped(trainer: Trainer, rows: Sequence[Row]) -> None:
    """Count and tell the steps of ``rows`` that were skipped, as their loss or gradient was not finite.

    Raises:
        TrainingError: too many in a row.
    """
    state, run = trainer.state, trainer.config.run
    for row in rows:
        if row.updated:
            state.skipped_in_row = 0
            continue
        state.skipped += 1
        state.skipped_in_row += 1
        trainer.tell(f"step {row.step}: {_fault(trainer, row)}; skipped")
        if state.skipped_in_row >= run.most_skipped:
            places = [place for part in trainer.ranks.gather(row.where) for place in part]
            raise TrainingError(_not_finite(trainer, row, places))


def _validate(trainer: Trainer) -> Scores:
    """Score the network on the validation boxes and save the checkpoints."""
    if trainer.sources.validation:
        trainer.tell(f"validating {len(trainer.sources.validation)} boxes")
    scores = trainer.evaluator(trainer.evaluated, trainer.sources.validation)
    save_last_and_best(trainer, scores)
    return scores


def _tell(
    trainer: Trainer, history: History | None, pace: "_Pace", rows: Sequence[Row], scores: Scores
) -> None:
    """A line for each of ``rows``, of which the last has ``scores``."""
    if history is None:
        return
    steps, batch = trainer.config.run.steps, trainer.config.run.batch
    for row in rows:
        found = scores if row is rows[-1] else {}
        rate = row.steps_per_second * batch
        line = {
            "step": row.step,
            "loss": row.loss,
            "gradient_norm": row.gradient_norm,
            "learning_rate": row.learning_rate,
            "images_per_second": rate,
            "waiting": row.waiting,
        }
        history.add({**line, **found})
        trainer.hooks.observe(
            Progress(
                step=row.step,
                steps=steps,
                loss=row.loss,
                images_per_second=rate,
                waiting=row.waiting,
                seconds_left=pace.seconds_left(row.step, steps),
                scores=found,
            )
        )


def _save(trainer: Trainer, history: History | None) -> None:
    """Save the state, and before it the rows of all steps that it counts."""
    if history is not None:
        history.flush()
    trainer.save()


def _due(trainer: Trainer, every: int) -> bool:
    return trainer.state.step % every == 0 or trainer.state.step == trainer.config.run.steps


def _stop_wanted(trainer: Trainer) -> bool:
    return trainer.hooks.stop() or (trainer.ranks.first and trainer.folder.stop.exists())


def _seed(seed: int, step: int, rank: int) -> None:
    """Dropout draws from the seed, step and rank alone: a resumed run draws the same."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1))


def _fault(trainer: Trainer, row: Row) -> str:
    overflow = "fp16 overflowed, the loss scale is halved: " if trainer.step.scaler.is_enabled() else ""
    return f"{overflow}the loss is {row.loss}, its gradient {row.gradient_norm}"


def _not_finite(trainer: Trainer, row: Row, places: Sequence[str]) -> str:
    shown = "; ".join(places[:_NAMED_BOXES]) + ("; ..." if len(places) > _NAMED_BOXES else "")
    count, scaler = trainer.state.skipped_in_row, trainer.step.scaler
    if scaler.is_enabled():
        return (
            f"fp16 overflowed {count} steps in a row (loss {row.loss}, loss scale {scaler.get_scale():g}), "
            f"last over {shown}; set run.precision=bf16 or fp32, or lower optimiser.learning_rate"
        )
    return (
        f"the loss was not finite {count} steps in a row, last over {shown}; look at these pixels, lower "
        "optimiser.learning_rate, or set optimiser.clip or run.precision=fp32"
    )


@dataclass(slots=True)
class _Pace:
    """How fast the updates go.

    Attributes:
        first_step: updates before this run.
        seconds_before: seconds of earlier runs.
        began: when this run began, on the monotonic clock.
        marks: time, and seconds waited for data so far, after each of the last updates.
    """

    first_step: int
    seconds_before: float
    began: float = field(default_factory=time.monotonic)
    marks: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_PACE_STEPS + 1))

    def count(self, trainer: Trainer, waited: float) -> None:
        """Count an update; ``waited`` are the seconds that this run has waited for data so far."""
        now = time.monotonic()
        self.marks.append((now, waited))
        trainer.state.seconds = self.seconds_before + now - self.began

    @property
    def steps_per_second(self) -> float:
        """Updates per second over the last ones, validations included."""
        taken = self.marks[-1][0] - self.marks[0][0]
        return (len(self.marks) - 1) / taken if taken > 0 else 0.0

    @property
    def waiting(self) -> float:
        """Share of the time of the last updates that was spent waiting for data."""
        (began, before), (ended, after) = self.marks[0], self.marks[-1]
        return (after - before) / (ended - began) if ended > began else 0.0

    def seconds_left(self, step: int, steps: int) -> float | None:
        """Seconds that are left at the pace since the start of this run; None before its first update."""
        done = step - self.first_step
        taken = time.monotonic() - self.began
        return taken / done * (steps - step) if done and math.isfinite(taken) else None
