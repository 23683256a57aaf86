"""Batch and Sample: what is read for a step, and what the network sees of it after augmentation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unet_batch.models.normalise import Affine


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of (C, *read) pixels, of which each has as many as its warp needs, with what is known of them.

    ``labels`` (L, *read): class numbers (L = 1; uint8 with 255, or uint16 with 65535, unlabelled), one
    0/1 channel per class (uint8, 255 unlabelled), or targets (float32, NaN unlabelled). ``weights``
    (*read) float32 or None. ``seeds`` decide all that augmentation draws: they follow from the run's
    seed, the step and the sample's place in the whole batch alone, so that no rank or world size shows.
    ``where`` names each sample for a person: ``STORE[box]``. ``affines`` normalise the samples; of a
    batch without them, the model's own mean and std do.
    """

    images: Sequence[NDArray[Any]]
    labels: Sequence[NDArray[Any]]
    weights: Sequence[NDArray[np.float32]] | None
    seeds: tuple[int, ...]
    where: tuple[str, ...]
    affines: tuple[Affine, ...] = ()

    def __len__(self) -> int:
        return len(self.seeds)


@dataclass(frozen=True, slots=True)
class Sample:
    """N augmented and normalised samples.

    ``images`` (N, C, *input) float32. ``labels``: (N, *output) int64 class numbers, 255 (65535 from 251
    classes on) unlabelled; (N, L, *output) int64 of 0 and 1, 255 unlabelled, for multilabel; (N, L,
    *output) float32, NaN unlabelled, for regression. ``weights`` (N, *output) float32 or None.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor | None
