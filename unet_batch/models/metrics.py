"""Scores from counts: a confusion matrix in, Dice and its relatives out. numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores per class in class order; None where the class gives nothing to divide by.

    A class without a pixel in the truth has no Dice or IoU and is left out of the means.
    """

    dice: tuple[float | None, ...]
    iou: tuple[float | None, ...]
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    accuracy: float | None
    mean_dice: float | None
    mean_iou: float | None


def confusion(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int, ignore: int | None = None
) -> Counts:
    """(classes, classes) pixel counts, truth along rows. Add those of many blocks to score a whole image.

    Pixels where either holds ``ignore`` are left out.

    Raises:
        ValueError: a label that is neither ``ignore`` nor below ``classes``, or arrays of unlike shapes.
    """
    if truth.shape != predicted.shape:
        raise ValueError(
            f"truth has shape {truth.shape}, the prediction {predicted.shape}; compare equal boxes"
        )
    known = np.ones(truth.shape, bool) if ignore is None else (truth != ignore) & (predicted != ignore)
    rows, columns = truth[known].astype(np.int64), predicted[known].astype(np.int64)
    for name, values in (("truth", rows), ("prediction", columns)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            worst = values.max() if values.max() >= classes else values.min()
            raise ValueError(f"the {name} holds label {worst}, but there are {classes} classes")
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def scores(counts: Counts) -> Scores:
    """Scores of a confusion matrix, truth along rows."""
    hit = np.diagonal(counts)
    true, found = counts.sum(axis=1), counts.sum(axis=0)
    there = true > 0
    dice = _ratios(2 * hit, (true + found) * there)
    iou = _ratios(hit, (true + found - hit) * there)
    return Scores(
        dice=dice,
        iou=iou,
        precision=_ratios(hit, found),
        recall=_ratios(hit, true),
        accuracy=_ratios(hit.sum(keepdims=True), counts.sum(keepdims=True).ravel())[0],
        mean_dice=_mean(dice),
        mean_iou=_mean(iou),
    )


def _ratios(above: Counts, below: Counts) -> tuple[float | None, ...]:
    return tuple(float(a) / float(b) if b else None for a, b in zip(above, below, strict=True))


def _mean(values: tuple[float | None, ...]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
