"""Sample: what the network sees of a batch, and what it should answer. On its device."""

from dataclasses import dataclass

from torch import Tensor


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
