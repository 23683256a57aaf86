"""`evaluate`: a Masks store against known labels, streamed. Counts pixels; the scores are models.metrics'.

>>> evaluate("masks.zarr", "masks.zarr/0").classes["b"].dice
1.0
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unet_batch.calls import checked
from unet_batch.errors import InputError
from unet_batch.models.instance_rules import InstanceRules
from unet_batch.models.metrics import Counts, Scores, confusion, scores
from unet_batch.products.evaluate_instances import compare_instances
from unet_batch.store.image import Image
from unet_batch.store.masks import Masks
from unet_batch.tiling import BlockGrid, Box

# Pixels compared at once: their 64-bit indices take some 100 MB.
_PIECE = 2**22


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Scores of one class, None where there is nothing to divide by; ``pixels`` of it in the truth.

    A class without a pixel in the truth has no Dice or IoU.
    """

    dice: float | None
    iou: float | None
    precision: float | None
    recall: float | None
    pixels: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well masks agree with the truth.

    Args:
        classes: scores by class name; of a multilabel store, of each channel's 1.
        counts: confusion matrices, truth along rows: one, or one (2, 2) per channel of a multilabel store.
        pixels: labels compared (of a multilabel store, over all channels).
        ignored: labels that the truth leaves open.
        unpredicted: labels that the truth has and the masks have not; in no score.
        missing: classes without a pixel in the truth; they are in no mean. Where the truth has a single one
            of several exclusive classes there is nothing to tell apart, and there are no means.
        objects: of instances, how many there are in the truth and how many were found.
        instances: of instances, average precision at overlaps from 0.5 to 0.9 (ap50 to ap90) and their mean,
            v_rand, v_info and rand_error.
    """

    classes: dict[str, ClassScores]
    mean_dice: float | None
    mean_iou: float | None
    accuracy: float | None
    counts: tuple[Counts, ...]
    pixels: int
    ignored: int
    unpredicted: int
    missing: tuple[str, ...] = ()
    objects: tuple[int, int] | None = None
    instances: Mapping[str, float] = field(default_factory=dict)

    def scores(self) -> dict[str, float]:
        """Every score by name, as validation names them; what nothing says of is left out."""
        found: dict[str, float | None] = {
            "mean_dice": self.mean_dice,
            "mean_iou": self.mean_iou,
            "accuracy": self.accuracy,
            **{f"dice_{name}": one.dice for name, one in self.classes.items()},
            **{f"iou_{name}": one.iou for name, one in self.classes.items()},
            **self.instances,
        }
        return {name: value for name, value in found.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """The evaluation as plain values."""
        return {
            "classes": {name: asdict(one) for name, one in self.classes.items()},
            "mean_dice": self.mean_dice,
            "mean_iou": self.mean_iou,
            "accuracy": self.accuracy,
            "pixels": self.pixels,
            "ignored": self.ignored,
            "unpredicted": self.unpredicted,
            "missing": list(self.missing),
            **({"objects": list(self.objects), **self.instances} if self.objects is not None else {}),
            "confusion": [matrix.tolist() for matrix in self.counts],
        }


@checked
def evaluate(
    masks_path: str | Path,
    truth_path: str | Path,
    ignore: int | None = None,
    roi: Box | None = None,
    *,
    label_kind: Literal["classes", "instances"] = "classes",
    rules: InstanceRules | None = None,
) -> Evaluation:
    """Scores of a Masks store of classes against labels in Zarr of the same shape, in bounded memory.

    Args:
        masks_path: multiclass or multilabel masks.
        truth_path: OME-Zarr or plain Zarr of class numbers, or for multilabel masks of 0 and 1 per channel.
        ignore: value of the truth that leaves a pixel open; by default the masks' own fill, 255 (65535
            from 251 classes on).
        roi: where to compare, in pixels without channels; by default everywhere.
        label_kind: what the truth holds: ``classes``, or ``instances``: 0 and a number for every instance.
            The masks are then numbers too (``objects --labels``), or classes that become instances.
        rules: how classes become instances; those of ``objects`` by default.

    Raises:
        MissingError, FormatError: no such stores.
        InputError: masks or a truth that cannot be compared, or a truth value that is no class.
    """
    masks = Masks.open(masks_path)
    if label_kind == "instances":
        return _of_instances(masks, truth_path, ignore, roi, rules or InstanceRules())
    if masks.layout.kind in ("regression", "instances"):
        raise InputError(
            f"{masks_path}: holds {masks.layout.kind}, which have no classes; give masks of classes"
            + (", or --label-kind instances" if masks.layout.kind == "instances" else "")
        )
    truth = open_truth(masks, truth_path)
    tally = _Tally.empty(masks, str(truth_path), int(masks.layout.fill) if ignore is None else ignore)
    for box in _pieces(masks, roi):
        tally.add(truth.read(box), masks.read(box))
    return _evaluation(masks.layout.names, tally)


def _of_instances(
    masks: Masks, path: str | Path, ignore: int | None, roi: Box | None, rules: InstanceRules
) -> Evaluation:
    truth = open_truth(masks, path)
    agreement, counts = compare_instances(masks, truth, ignore, _pieces(masks, roi), rules)
    tally = _Tally(str(path), 0, int(masks.layout.fill), [counts])
    found = _evaluation(("background", "instance"), tally)
    return replace(found, objects=agreement.counts, instances=agreement.scores())


@dataclass(slots=True)
class _Tally:
    """Running counts; the one thing here that changes."""

    where: str
    ignore: int
    fill: int
    counts: list[Counts]
    ignored: int = 0
    unpredicted: int = 0

    @classmethod
    def empty(cls, masks: Masks, where: str, ignore: int) -> "_Tally":
        multilabel = masks.layout.kind == "multilabel"
        size = 2 if multilabel else len(masks.layout.names)
        matrices = [np.zeros((size, size), np.int64) for _ in range(masks.layout.channels)]
        return cls(where, ignore, int(masks.layout.fill), matrices)

    def add(self, truth_CX: NDArray[Any], found_CX: NDArray[Any]) -> None:
        """Count one box, (C, *shape) each."""
        for channel, (truth, found) in enumerate(zip(truth_CX, found_CX, strict=True)):
            labelled = truth != self.ignore
            require_classes(self.where, truth[labelled], len(self.counts[channel]))
            predicted = found != self.fill
            compared = labelled & predicted
            self.ignored += labelled.size - int(np.count_nonzero(labelled))
            self.unpredicted += int(np.count_nonzero(labelled & ~predicted))
            classes = len(self.counts[channel])
            self.counts[channel] += confusion(truth[compared], found[compared], classes)


def require_classes(where: str, labels: NDArray[Any], classes: int) -> None:
    """Raise InputError where ``labels`` of the truth at ``where`` are not 0 to ``classes`` - 1."""
    if labels.size == 0:
        return
    for value in (int(labels.min()), int(labels.max())):
        if not 0 <= value < classes:
            raise InputError(
                f"{where}: holds label {value}, but the classes are 0 to {classes - 1}; "
                f"mend the labels, or name {value} as the value to ignore"
            )


def open_truth(masks: Masks, path: str | Path) -> Image:
    """The labels at ``path``, of the shape and channels of ``masks``.

    Raises:
        MissingError, FormatError: no Zarr there.
        InputError: a foreign file, another shape, or values that are no class numbers.
    """
    if Path(path).is_file():
        raise InputError(
            f"{path}: is not Zarr; run `unet-batch ingest {path} TRUTH.zarr` first and give that"
        )
    layout = masks.layout
    try:
        truth = Image.open(path)
    except InputError:  # a plain array whose axes have no names: those of the masks
        truth = Image.open(path, axes=masks.layers["labels"].layout.axes)
    if truth.shape != layout.shape or truth.channels != layout.channels:
        raise InputError(
            f"{path}: has shape {truth.shape} with {truth.channels} channels, the masks {layout.shape} with "
            f"{layout.channels}; give labels of the same image"
        )
    if truth.dtype.kind not in "biu":
        raise InputError(f"{path}: holds {truth.dtype}, not class numbers; give integer labels")
    return truth


def _pieces(masks: Masks, roi: Box | None) -> Iterator[Box]:
    """Boxes of whole chunks within the region, each of at most _PIECE pixels where chunks are not larger."""
    whole = Box.of_shape(masks.layout.shape)
    region = whole if roi is None else roi.intersect(whole)
    if region.size == 0:
        raise InputError(f"{masks.path}: the region {roi} covers no pixel of {whole.shape}; choose another")
    step = list(masks.layout.chunk)
    while prod(step) * 2**masks.layout.dims <= _PIECE:
        step[-masks.layout.dims :] = [2 * s for s in step[-masks.layout.dims :]]
    return BlockGrid(whole.shape, tuple(step)).pieces(region)


def _evaluation(names: tuple[str, ...], tally: _Tally) -> Evaluation:
    found = [scores(matrix) for matrix in tally.counts]
    exclusive = len(found) == 1 and len(tally.counts[0]) == len(names)
    if exclusive:
        by_class = [_of_class(found[0], tally.counts[0], i) for i in range(len(names))]
    else:
        by_class = [_of_class(one, matrix, 1) for one, matrix in zip(found, tally.counts, strict=True)]
    missing = tuple(name for name, one in zip(names, by_class, strict=True) if not one.pixels)
    judged = [] if exclusive and len(names) - len(missing) < min(2, len(names)) else by_class
    total = int(sum(matrix.sum() for matrix in tally.counts))
    hits = int(sum(np.trace(matrix) for matrix in tally.counts))
    return Evaluation(
        classes=dict(zip(names, by_class, strict=True)),
        mean_dice=_mean([one.dice for one in judged]),
        mean_iou=_mean([one.iou for one in judged]),
        accuracy=hits / total if total else None,
        counts=tuple(tally.counts),
        pixels=total,
        ignored=tally.ignored,
        unpredicted=tally.unpredicted,
        missing=missing,
    )


def _of_class(found: Scores, counts: Counts, i: int) -> ClassScores:
    pixels = int(counts[i].sum())
    return ClassScores(found.dice[i], found.iou[i], found.precision[i], found.recall[i], pixels)


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
