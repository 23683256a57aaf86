"""LabelForm: the one form that labels take on their way to the loss, whatever their store holds."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unet_batch.models.spec import ModelSpec

_MOST_UINT8_CLASSES = 250  # as in mask stores


@dataclass(frozen=True, slots=True)
class LabelForm:
    """Labels (L, *box): class numbers (L = 1), a 0/1 channel per name, or a float32 channel per name."""

    head: Literal["multiclass", "multilabel", "regression"]
    names: tuple[str, ...]

    @classmethod
    def of(cls, spec: ModelSpec) -> "LabelForm":
        """What the head of ``spec`` learns from."""
        return cls(spec.head, spec.classes)

    @property
    def channels(self) -> int:
        """L."""
        return 1 if self.head == "multiclass" else len(self.names)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels."""
        if self.head == "regression":
            return np.dtype(np.float32)
        large = self.head == "multiclass" and len(self.names) > _MOST_UINT8_CLASSES
        return np.dtype(np.uint16 if large else np.uint8)

    @property
    def fill(self) -> float:
        """Value of an unlabelled pixel: 255, 65535 or NaN."""
        return math.nan if self.head == "regression" else int(np.iinfo(self.dtype).max)

    def labelled(self, labels: NDArray[Any]) -> NDArray[np.bool_]:
        """Which pixels (*box) of ``labels`` (L, *box) have any label."""
        known = ~np.isnan(labels) if self.head == "regression" else labels != self.fill
        return np.asarray(known[0] if len(known) == 1 else known.any(axis=0))
