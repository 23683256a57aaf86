"""`evaluate_many`: masks of many images against their truths, as one table with mean, range and interval."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unet_batch.atomic import atomic_write
from unet_batch.calls import checked
from unet_batch.errors import InputError, MissingError
from unet_batch.models.instance_rules import InstanceRules
from unet_batch.products.evaluate import Evaluation, evaluate

MARKS = ("zarr.json", ".zgroup", ".zarray")
_RESAMPLES = 2000
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Spread:
    """One score over images: mean, least, largest, and the 95 % interval of the mean by bootstrap.

    Images are drawn anew 2,000 times with one seed, so the same table gives the same interval. None where
    there is a single image.
    """

    mean: float
    least: float
    largest: float
    interval: tuple[float, float] | None
    images: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of the scores of at least one image."""
        found, interval = np.asarray(values), None
        if len(found) > 1:
            drawn = np.random.default_rng(0).integers(len(found), size=(_RESAMPLES, len(found)))
            low, high = np.percentile(found[drawn].mean(axis=1), _INTERVAL)
            interval = (float(low), float(high))
        return cls(float(found.mean()), float(found.min()), float(found.max()), interval, len(found))


@dataclass(frozen=True, slots=True)
class EvaluationTable:
    """Evaluations by image name."""

    images: Mapping[str, Evaluation]

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """All scores of each image; those that its truth says nothing of are left out."""
        return {name: found.scores() for name, found in self.images.items()}

    @property
    def spreads(self) -> dict[str, Spread]:
        """Each score over the images that have it."""
        columns = dict.fromkeys(score for row in self.scores.values() for score in row)
        return {
            column: Spread.of([row[column] for row in self.scores.values() if column in row])
            for column in columns
        }

    def to_json(self) -> dict[str, Any]:
        """The table as plain values."""
        spreads = {
            name: {
                "mean": one.mean, "min": one.least, "max": one.largest, "interval_95": one.interval,
                "images": one.images,
            }
            for name, one in self.spreads.items()
        }  # fmt: skip
        return {"images": {name: one.to_json() for name, one in self.images.items()}, "scores": spreads}

    def write(self, path: str | Path) -> None:
        """The scores as CSV, a line an image."""
        columns, text = list(self.spreads), io.StringIO(newline="")
        writer = csv.DictWriter(text, ["image", *columns], restval="")
        writer.writeheader()
        writer.writerows({"image": name, **row} for name, row in self.scores.items())
        atomic_write(Path(path), text.getvalue())


@checked
def evaluate_many(
    masks: str | Path | Sequence[str | Path],
    truths: str | Path | Sequence[str | Path],
    ignore: int | None = None,
    label_kind: Literal["classes", "instances"] = "classes",
    rules: InstanceRules | None = None,
) -> EvaluationTable:
    """Evaluate many mask stores, each against the truth of its name.

    Args:
        masks: a folder of stores, or a list of stores.
        truths: a folder of labels, or a list, of the same names but for .zarr; IMAGE/labels/NAME is known by
            the name of the image.
        ignore: as of ``evaluate``, and so the others.
        label_kind: what the truths hold.
        rules: how classes become instances.

    Raises:
        InputError: nothing to compare, two of one name, or masks without a truth.
        UnetBatchError: what ``evaluate`` raises of one of them; it names the file.
    """
    found, known = _by_name(masks, "masks"), _by_name(truths, "truths")
    lonely = [name for name in found if name not in known]
    if lonely:
        raise InputError(
            f"{found[lonely[0]]}: no truth of the name {lonely[0]} among {len(known)} "
            f"({', '.join([*known][:4])}); name truths as the masks, or give lists of equal names"
        )
    return EvaluationTable(
        {
            name: evaluate(path, known[name], ignore, label_kind=label_kind, rules=rules)
            for name, path in found.items()
        }
    )


def _by_name(places: str | Path | Sequence[str | Path], what: str) -> dict[str, Path]:
    given = [places] if isinstance(places, str | Path) else places
    found: dict[str, Path] = {}
    for path in (store for place in given for store in _stores(Path(place))):
        name = _name(path)
        if name in found:
            raise InputError(
                f"{path}: {what} of the name {name} are given twice, also {found[name]}; rename one"
            )
        found[name] = path
    if not found:
        raise InputError(f"{places}: no Zarr stores in it; give {what}, or a folder of them")
    return found


def _stores(place: Path) -> list[Path]:
    if any((place / mark).is_file() for mark in MARKS):
        return [place]
    if not place.is_dir():
        raise MissingError(f"{place}: no such store or folder; check the path")
    return [path for path in sorted(place.iterdir()) if any((path / mark).is_file() for mark in MARKS)]


def _name(path: Path) -> str:
    own = path.parent.parent if path.parent.name == "labels" else path
    return own.name.removesuffix(".zarr").removesuffix(".ome")
