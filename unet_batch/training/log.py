"""Log: what steps came to, left on the device until a line is due, as each reading waits for the device."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from unet_batch.devices.device import Device
from unet_batch.training.step import StepResult

LOG_EVERY = 20  # steps whose numbers are read at once


@dataclass(frozen=True, slots=True)
class Row:
    """A step, and what its line says.

    Attributes:
        step: how many updates were done after it.
        learning_rate: that it took.
        steps_per_second: over the last ones.
        waiting: share of their time that was spent waiting for data.
        where: what this rank's samples were.
        loss: of the whole batch of all ranks.
        gradient_norm: of its gradient, before clipping.
        updated: whether the weights were updated.
    """

    step: int
    learning_rate: float
    steps_per_second: float
    waiting: float
    where: Sequence[str]
    loss: float = 0.0
    gradient_norm: float = 0.0
    updated: bool = True


@dataclass(slots=True)
class Log:
    """Rows whose numbers are still on ``device``."""

    device: Device
    rows: list[Row] = field(default_factory=list)
    results: list[StepResult] = field(default_factory=list)

    @property
    def due(self) -> bool:
        """Whether to read: where nothing waits for it each step, else every twenty steps."""
        return not self.device.asynchronous or self.rows[-1].step % LOG_EVERY == 0

    def add(self, row: Row, result: StepResult) -> None:
        """A step whose numbers are not read yet."""
        self.rows.append(row)
        self.results.append(result)

    def read(self) -> list[Row]:
        """All rows since the last call, whole; waits for the device once."""
        if not self.rows:
            return []
        numbers = [n for r in self.results for n in (r.loss, r.gradient_norm, r.updated)]
        on_device = torch.stack([number.float() for number in numbers])
        values = self.device.pinned(on_device.shape, torch.float32)
        self.device.download(on_device, values)
        self.device.current_stream().record().synchronize()
        found = values.view(-1, 3).tolist()
        rows = [_whole(*pair) for pair in zip(self.rows, found, strict=True)]
        self.rows, self.results = [], []
        return rows


def _whole(row: Row, numbers: Sequence[float]) -> Row:
    loss, norm, updated = numbers
    return replace(row, loss=loss, gradient_norm=norm, updated=bool(updated))
