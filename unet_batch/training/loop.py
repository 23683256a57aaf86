"""The loop: step after step, validated and saved on the way, until the last one or a wish to stop."""

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from unet_batch.errors import TrainingError
from unet_batch.training.checkpointing import keep
from unet_batch.training.evaluator import Scores
from unet_batch.training.feed import Feed, fed
from unet_batch.training.history import History
from unet_batch.training.hooks import Progress
from unet_batch.training.job import Job
from unet_batch.training.lr_scheduler import factor
from unet_batch.training.step import Outcome

_PACE_STEPS = 20
_NAMED_BOXES = 4


def learn(job: Job, history: History | None) -> bool:
    """Train from where ``job`` stands; True once the last step is done, False if asked to stop before.

    Args:
        job: what to train; its standing moves on.
        history: of the first rank; None on others.

    Raises:
        TrainingError: too many steps in a row without a finite loss; it names what they saw.
    """
    standing, steps = job.standing, job.config.run.steps
    pace = _Pace(standing.step, standing.seconds)
    with fed(job) as feed:
        while standing.step < steps:
            # Asked before the step and read after it, so that no device waits for the answer.
            asked = job.ranks.sum(torch.tensor(float(_stop_wanted(job)), device=job.ranks.device))
            outcome = _take_step(job, feed)
            pace.count(job, feed.loader.waited)
            scores = _validate(job) if _due(job, job.config.validation.every) else {}
            _record(job, history, pace, outcome, scores)
            stopping = bool(asked.item()) and standing.step < steps
            if stopping or _due(job, job.config.run.checkpoint_every):
                _save(job, history)
            if stopping:
                return False
    return True


def _take_step(job: Job, feed: Feed) -> Outcome:
    """One update, counted; skipped where its loss is not finite."""
    standing, run = job.standing, job.config.run
    parts, batch = feed()
    _seed(run.seed, standing.step, job.ranks.rank)
    outcome = job.step(parts, standing.step, learning_rate(job))
    standing.step += 1
    if outcome.moved:
        standing.skipped_in_row = 0
        return outcome
    standing.skipped += 1
    standing.skipped_in_row += 1
    job.tell(f"step {standing.step}: the loss is {outcome.loss}, its gradient {outcome.gradient}; skipped")
    if standing.skipped_in_row >= run.most_skipped:
        raise TrainingError(
            _no_number(job, [place for part in job.ranks.gather(batch.where) for place in part])
        )
    return outcome


def learning_rate(job: Job) -> float:
    """Of the next step."""
    config = job.config
    return config.optimiser.learning_rate * factor(config.schedule, job.standing.step, config.run.steps)


def _validate(job: Job) -> Scores:
    """Scores of the network as it stands; the checkpoints follow."""
    if job.sources.validation:
        job.tell(f"validating {len(job.sources.validation)} boxes")
    scores = job.judge(job.judged, job.sources.validation)
    keep(job, scores)
    return scores


def _record(job: Job, history: History | None, pace: "_Pace", outcome: Outcome, scores: Scores) -> None:
    if history is None:
        return
    standing, steps = job.standing, job.config.run.steps
    row = {
        "step": standing.step,
        "loss": outcome.loss,
        "gradient_norm": outcome.gradient,
        "learning_rate": job.step.optimiser.param_groups[0]["lr"],
        "images_per_second": pace.steps_per_second * job.config.run.batch,
        "waiting": pace.waiting,
    }
    history.add({**row, **scores})
    job.hooks.observe(
        Progress(
            step=standing.step,
            steps=steps,
            loss=outcome.loss,
            images_per_second=row["images_per_second"],
            waiting=pace.waiting,
            seconds_left=pace.seconds_left(standing.step, steps),
            scores=scores,
        )
    )


def _save(job: Job, history: History | None) -> None:
    """The state, and before it the rows of all steps that it counts."""
    if history is not None:
        history.flush()
    job.save()


def _due(job: Job, every: int) -> bool:
    return job.standing.step % every == 0 or job.standing.step == job.config.run.steps


def _stop_wanted(job: Job) -> bool:
    return job.hooks.stop() or (job.ranks.first and job.folder.stop.exists())


def _seed(seed: int, step: int, rank: int) -> None:
    """Dropout draws from the seed, step and rank alone: a resumed run draws the same."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1))


def _no_number(job: Job, places: Sequence[str]) -> str:
    shown = "; ".join(places[:_NAMED_BOXES]) + ("; ..." if len(places) > _NAMED_BOXES else "")
    return (
        f"the loss was not finite {job.standing.skipped_in_row} steps in a row, last over {shown}; look at "
        "these pixels, lower optimiser.learning_rate, or set optimiser.clip or run.precision=fp32"
    )


@dataclass(slots=True)
class _Pace:
    """How fast the steps go; the one thing here that keeps time.

    Attributes:
        first_step: where this run began.
        seconds_before: of earlier runs.
    """

    first_step: int
    seconds_before: float
    began: float = field(default_factory=time.monotonic)
    marks: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_PACE_STEPS + 1))

    def count(self, job: Job, waited: float) -> None:
        """A step has ended; ``waited`` seconds so far went by without data."""
        now = time.monotonic()
        self.marks.append((now, waited))
        job.standing.seconds = self.seconds_before + now - self.began

    @property
    def steps_per_second(self) -> float:
        """Over the last steps, validations included."""
        taken = self.marks[-1][0] - self.marks[0][0]
        return (len(self.marks) - 1) / taken if taken > 0 else 0.0

    @property
    def waiting(self) -> float:
        """Share of the last steps."""
        (began, before), (ended, after) = self.marks[0], self.marks[-1]
        return (after - before) / (ended - began) if ended > began else 0.0

    def seconds_left(self, step: int, steps: int) -> float | None:
        """At the pace since the start of this run."""
        done = step - self.first_step
        taken = time.monotonic() - self.began
        return taken / done * (steps - step) if done and math.isfinite(taken) else None
