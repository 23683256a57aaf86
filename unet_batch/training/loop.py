"""The training loop: step after step, validated and saved on the way, until the last or a request to stop."""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from unet_batch.errors import TrainingError
from unet_batch.training.augment.augment import Augment
from unet_batch.training.batch import Batch
from unet_batch.training.checkpointing import save_last_and_best
from unet_batch.training.data.labels import LabelForm
from unet_batch.training.data.loader import Loader
from unet_batch.training.evaluator import Scores
from unet_batch.training.history import History
from unet_batch.training.hooks import Progress
from unet_batch.training.losses.target import Target
from unet_batch.training.step import Part, StepResult
from unet_batch.training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Batches:
    """This rank's share of each batch: read ahead, augmented and normalised on the device.

    Attributes:
        loader: reads samples ahead.
        augment: augments and normalises them.
        parts: how many parts a batch is computed in (``run.accumulate``).
        device: where they go.
        form: of the labels.
    """

    loader: Loader
    augment: Augment
    parts: int
    device: torch.device
    form: LabelForm

    def __call__(self) -> tuple[list[Part], Batch]:
        """The parts of the next batch, and the batch as it was read."""
        batch = next(self.loader)
        sample = self.augment(batch, self.device)
        weights: tuple[Tensor | None, ...] = (None,) * self.parts
        if sample.weights is not None:
            weights = sample.weights.chunk(self.parts)
        pieces = zip(sample.images.chunk(self.parts), sample.labels.chunk(self.parts), weights, strict=True)
        head, fill = self.form.head, self.form.fill
        parts = [Part(images, Target.of(labels, weight, head, fill)) for images, labels, weight in pieces]
        return parts, batch


@contextmanager
def _batches(trainer: Trainer) -> Iterator[Batches]:
    """The batches from the trainer's step on; read ahead until the context ends.

    Raises:
        InputError: a patch, class weights or a batch that do not fit the data.
    """
    config, ranks, sources = trainer.config, trainer.ranks, trainer.sources
    with Loader(
        sources,
        config.sampling,
        config.augment,
        config.run.batch,
        ranks.rank,
        ranks.count,
        trainer.state.step,
    ) as loader:
        augment = Augment(config.augment, sources.spec, loader.patch.input)
        yield Batches(loader, augment, config.run.accumulate, ranks.device, sources.form)


_PACE_STEPS = 20
_NAMED_BOXES = 4


def run_updates(trainer: Trainer, history: History | None) -> bool:
    """Train from the trainer's step on; True once the last step is done, False if asked to stop before.

    Args:
        trainer: what to train; its state changes.
        history: of the first rank; None on others.

    Raises:
        TrainingError: too many steps in a row without a finite loss; it names what they saw.
    """
    state, steps = trainer.state, trainer.config.run.steps
    pace = _Pace(state.step, state.seconds)
    with _batches(trainer) as batches:
        while state.step < steps:
            # Asked before the step and read after it, so that no device waits for the answer.
            asked = trainer.ranks.sum(torch.tensor(float(_stop_wanted(trainer)), device=trainer.ranks.device))
            result = _update(trainer, batches)
            pace.count(trainer, batches.loader.waited)
            scores = _validate(trainer) if _due(trainer, trainer.config.validation.every) else {}
            _record(trainer, history, pace, result, scores)
            stopping = bool(asked.item()) and state.step < steps
            if stopping or _due(trainer, trainer.config.run.checkpoint_every):
                _save(trainer, history)
            if stopping:
                return False
    return True


def _update(trainer: Trainer, batches: Batches) -> StepResult:
    """One update, counted; skipped where its loss is not finite."""
    state, run = trainer.state, trainer.config.run
    parts, batch = batches()
    _seed(run.seed, state.step, trainer.ranks.rank)
    result = trainer.step(parts, state.step, trainer.lr_scheduler(state.step))
    state.step += 1
    if result.updated:
        state.skipped_in_row = 0
        return result
    state.skipped += 1
    state.skipped_in_row += 1
    trainer.tell(
        f"step {state.step}: the loss is {result.loss}, its gradient {result.gradient_norm}; skipped"
    )
    if state.skipped_in_row >= run.most_skipped:
        raise TrainingError(
            _not_finite(trainer, [place for part in trainer.ranks.gather(batch.where) for place in part])
        )
    return result


def _validate(trainer: Trainer) -> Scores:
    """Score the network on the validation boxes and save the checkpoints."""
    if trainer.sources.validation:
        trainer.tell(f"validating {len(trainer.sources.validation)} boxes")
    scores = trainer.evaluator(trainer.evaluated, trainer.sources.validation)
    save_last_and_best(trainer, scores)
    return scores


def _record(
    trainer: Trainer, history: History | None, pace: "_Pace", result: StepResult, scores: Scores
) -> None:
    if history is None:
        return
    state, steps = trainer.state, trainer.config.run.steps
    row = {
        "step": state.step,
        "loss": result.loss,
        "gradient_norm": result.gradient_norm,
        "learning_rate": trainer.step.optimiser.param_groups[0]["lr"],
        "images_per_second": pace.steps_per_second * trainer.config.run.batch,
        "waiting": pace.waiting,
    }
    history.add({**row, **scores})
    trainer.hooks.observe(
        Progress(
            step=state.step,
            steps=steps,
            loss=result.loss,
            images_per_second=row["images_per_second"],
            waiting=pace.waiting,
            seconds_left=pace.seconds_left(state.step, steps),
            scores=scores,
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


def _not_finite(trainer: Trainer, places: Sequence[str]) -> str:
    shown = "; ".join(places[:_NAMED_BOXES]) + ("; ..." if len(places) > _NAMED_BOXES else "")
    return (
        f"the loss was not finite {trainer.state.skipped_in_row} steps in a row, last over {shown}; look at "
        "these pixels, lower optimiser.learning_rate, or set optimiser.clip or run.precision=fp32"
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
