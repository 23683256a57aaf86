"""Program: a batch of tiles of one shape as captured work, which a device repeats as one piece."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unet_batch.devices.device import Device

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Program:
    """``replay`` computes ``out`` (N, ...) from ``x`` (N, C, *input)."""

    x: Tensor
    out: Tensor
    replay: Callable[[], None]

    @classmethod
    def of(
        cls, device: Device, batch: int, like: Tensor, compute: Callable[[Tensor], Iterator[Tensor]]
    ) -> "Program":
        """``compute`` for ``batch`` tiles like the one given; run as it is where it cannot be captured.

        Raises:
            torch.OutOfMemoryError: memory does not suffice.
        """
        x = device.empty((batch, *like.shape), like.dtype)
        x.copy_(like.expand(x.shape))  # pixels as they come: other values might overflow where these do not
        out = torch.stack(list(compute(x)))

        def run() -> None:
            for row, found in zip(out, compute(x), strict=True):
                row.copy_(found)

        try:
            return cls(x, out, device.capture(run))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # a foreign network that waits for the device cannot be captured
            logger.info("networks are not captured (%s)", str(error).split("\n", 1)[0])
            return cls(x, out, run)

    def __call__(self, tiles: Sequence[Tensor]) -> list[Tensor]:
        """Of each of ``tiles``, at most a batch; rows of ``x`` behind them hold earlier ones."""
        for row, one in zip(self.x, tiles, strict=False):
            row.copy_(one)
        self.replay()
        return [found.clone() for found in self.out[: len(tiles)]]
