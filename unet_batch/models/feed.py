"""Feed: what the calls of a network will bring, so that it can be made ready for them. Runs nothing."""

from dataclasses import dataclass

import numpy as np
import torch

from unet_batch.models.normalise import Affine


@dataclass(frozen=True, slots=True)
class Feed:
    """The inputs of all calls.

    Attributes:
        shape: (N, C, *spatial).
        dtype: as they come, stored pixels or float32.
        affine: how they are still to be normalised; None: they are.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    affine: Affine | None = None


def dtype_of(name: str) -> torch.dtype:
    """Torch's type for pixels that numpy calls ``name``."""
    return torch.from_numpy(np.empty(0, name)).dtype
