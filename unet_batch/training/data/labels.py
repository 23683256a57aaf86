"""Labels: the one form that they take on their way to the loss, whatever their store holds.

Stored values become class numbers; a value that is no class is an error that says where.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.models.spec import ModelSpec
from unet_batch.tiling.border import Source
from unet_batch.tiling.box import Box
from unet_batch.training.data.config import SourceConfig

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


_PAST = 65536  # values above this are looked up here, those below -1 at -2
_TABLE = _PAST + 3


@dataclass(frozen=True, slots=True)
class ClassNumbers:
    """A Source of labels in their form, from a Source of stored integers."""

    source: Source
    form: LabelForm
    table: NDArray[Any]
    where: str

    @classmethod
    def of(cls, source: Source, form: LabelForm, config: SourceConfig) -> "ClassNumbers":
        """Values as ``config`` reads them."""
        return cls(source, form, _table(form, config), config.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Without channels."""
        return self.source.shape

    def read(self, box: Box) -> NDArray[Any]:
        """(L, *box.shape).

        Raises:
            InputError: a value that is no class.
        """
        stored = self.source.read(box)
        labels = self.looked_up(stored)
        bad = labels == self._bad
        if bad.any():
            at = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
            position = tuple(a + i for a, i in zip(box.start, at[1:], strict=True))
            raise InputError(
                f"{self.where}: holds {int(stored[at])} at {position}, {self._allowed}; mend the labels, or "
                f"say with `remap` which class it is, or with `unlabelled` that it is none"
            )
        return labels

    def looked_up(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Class numbers of stored values, unchecked."""
        if stored.dtype not in (np.uint8, np.uint16):
            # First to 64 bits: neither limit need fit the type that is stored.
            stored = np.clip(stored.astype(np.int64), -2, _PAST)
        return np.asarray(self.table[stored])

    @property
    def _bad(self) -> int:
        return int(self.form.fill) - 1

    @property
    def _allowed(self) -> str:
        classes = len(self.form.names)
        if self.form.head == "multilabel":
            return f"but a multilabel channel is 0, 1 or {int(self.form.fill)} (unlabelled)"
        some = ", ".join(self.form.names[:4]) + ", ..." * (classes > 4)
        return f"but the classes are 0 to {classes - 1} ({some})"


def _table(form: LabelForm, config: SourceConfig) -> NDArray[Any]:
    """Class numbers by stored value; the last two entries are those of -2 (and below) and -1."""
    fill, classes = int(form.fill), 2 if form.head == "multilabel" else len(form.names)
    table = np.full(_TABLE, fill - 1, form.dtype)
    table[:classes] = np.arange(classes)
    table[[fill, 65535]] = fill
    for value, label in config.remap.items():
        if not -1 <= value < _PAST or (label is not None and not 0 <= label < classes):
            raise InputError(
                f"{config.labels}: remap {value}: {label} leads past the {classes} classes of the model; "
                f"map stored values to 0 to {classes - 1}, or null for unlabelled"
            )
        table[value] = fill if label is None else label
    if config.unlabelled is not None and -1 <= config.unlabelled < _PAST:
        table[config.unlabelled] = fill
    return table
