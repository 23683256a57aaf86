"""Hooks: how a caller watches a training, and ends it early."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands after a step.

    Attributes:
        step: updates done.
        steps: of so many.
        loss: of the whole batch; not finite where the step was skipped.
        images_per_second: over the last steps, of all ranks.
        waiting: share of the last steps that was spent waiting for data.
        seconds_left: at the pace of this run so far, validations included.
        scores: of the validation, after the steps that have one.
        message: set where something else than a step happened.
    """

    step: int
    steps: int
    loss: float = 0.0
    images_per_second: float = 0.0
    waiting: float = 0.0
    seconds_left: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    message: str = ""

    def __str__(self) -> str:
        """One line for a person: the message, or step, loss, speed, minutes left and scores."""
        if self.message:
            return self.message
        scores = "".join(f", {name} {value:.4f}" for name, value in self.scores.items())
        left = "" if self.seconds_left is None else f", {self.seconds_left / 60:.0f} min left"
        speed = f"{self.images_per_second:.1f} images/s"
        return f"step {self.step} of {self.steps}: loss {self.loss:.4f}, {speed}{left}{scores}"


@dataclass(frozen=True, slots=True)
class Hooks:
    """How a caller watches and ends a training; of several ranks, the first one tells.

    Attributes:
        observe: called after every step, and with a message in between.
        stop: asked at every step; once true on any rank, all end after the step and their state is saved, for
            the next call to go on from.
        finish: asked at every step; once true on any rank, this step becomes the last one: the best network
            is judged on the test boxes, and the run is done.
    """

    observe: Callable[[Progress], None] = lambda _progress: None
    stop: Callable[[], bool] = lambda: False
    finish: Callable[[], bool] = lambda: False
