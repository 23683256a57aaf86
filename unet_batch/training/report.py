"""Pictures of a training at its end: curves of losses and scores, and a sheet of predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from unet_batch.atomic import atomic_path
from unet_batch.tiling import Box
from unet_batch.training.data.region import Region
from unet_batch.training.history import STEP_COLUMNS, read_history
from unet_batch.training.trainer import Trainer

_SHOWN_REGIONS, _SHOWN_EXTENT = 6, 512
_FEW_COLOURS = 20


_MOST_LINES = 6


def draw_curves(history: Path, path: Path) -> None:
    """Loss, smoothed, and every score between 0 and 1 over the steps, as PNG."""
    rows = read_history(history)
    names = [name for name in dict.fromkeys(k for row in rows for k in row) if name not in STEP_COLUMNS]
    shown = [name for name in names if _is_share(rows, name)]
    groups = [shown[first : first + _MOST_LINES] for first in range(0, len(shown), _MOST_LINES)]
    figure = Figure(figsize=(9, 3 * (1 + len(groups))), layout="constrained")
    losses, *others = figure.subplots(1 + len(groups), 1, squeeze=False)[:, 0]
    finite = [(row["step"], row["loss"]) for row in rows if np.isfinite(row["loss"])]
    if finite:
        steps, values = np.array(finite).T
        losses.plot(steps, values, color="0.8", linewidth=0.8, label="loss")
        losses.plot(steps, _smooth(values), color="tab:blue", label="smoothed")
        losses.legend(**_OUTSIDE)
    losses.set(title="training", xlabel="step", ylabel="loss")
    for axis, group in zip(others, groups, strict=True):
        _draw_scores(axis, rows, group)
    _save(figure, path)


_OUTSIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "fontsize": "small"}


def _is_share(rows: Sequence[Mapping[str, float]], name: str) -> bool:
    return all(0 <= row[name] <= 1 for row in rows if name in row)


def _draw_scores(axis: Any, rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> None:
    """At most six lines of distinct colours, named beside the panel."""
    for place, name in enumerate(names):
        points = np.array([(row["step"], row[name]) for row in rows if name in row])
        axis.plot(points[:, 0], points[:, 1], color=f"C{place}", marker=".", label=name)
    axis.legend(**_OUTSIDE)
    axis.set(title="validation", xlabel="step", ylim=(0, 1))


def draw_predictions(trainer: Trainer, network: nn.Module, path: Path) -> None:
    """Image, truth and prediction of the middle of some validation (else training) boxes, as PNG."""
    regions = (trainer.sources.validation or trainer.sources.train)[:_SHOWN_REGIONS]
    figure = Figure(figsize=(9, 3 * len(regions)), layout="constrained")
    rows = figure.subplots(len(regions), 3, squeeze=False)
    for axes, region in zip(rows, regions, strict=True):
        middle = Region(region.stores, _middle(region.box), region.number)
        found = trainer.evaluator.predictor(network, middle).labels
        truth = middle.read_labels(middle.box)
        axes[0].imshow(_picture(_plane(middle.read_image(middle.box))), cmap="gray")
        for axis, labels in zip(axes[1:], (truth, found), strict=True):
            _show_labels(axis, _plane(labels), trainer)
        axes[0].set_ylabel("/".join(Path(region.stores.image.path).parts[-2:]), fontsize="small")
    for axis, title in zip(rows[0], ("image", "truth", "prediction"), strict=True):
        axis.set_title(title)
    for axis in rows.flat:
        axis.set(xticks=[], yticks=[])
    _save(figure, path)


def _show_labels(axis: Any, labels: NDArray[Any], trainer: Trainer) -> None:
    """Classes in colours, unlabelled white; of several channels the first."""
    shown = labels[0]
    if trainer.spec.head == "regression":
        axis.imshow(shown, cmap="viridis")
        return
    classes = len(trainer.spec.classes) if trainer.spec.head == "multiclass" else 2
    hidden = np.ma.masked_equal(shown, trainer.sources.form.fill)
    colours = "tab20" if _FEW_COLOURS // 2 < classes <= _FEW_COLOURS else "viridis"
    axis.imshow(hidden, cmap=colours, vmin=0, vmax=classes - 1, interpolation="nearest")


def _middle(box: Box) -> Box:
    """A plane in the middle of ``box``, at most so large."""
    pairs = [_centre(a, b, 1) for a, b in zip(box.start[:-2], box.stop[:-2], strict=True)]
    pairs += [_centre(a, b, _SHOWN_EXTENT) for a, b in zip(box.start[-2:], box.stop[-2:], strict=True)]
    return Box(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def _centre(start: int, stop: int, extent: int) -> tuple[int, int]:
    taken = min(extent, stop - start)
    first = start + (stop - start - taken) // 2
    return first, first + taken


def _plane(array: NDArray[Any]) -> NDArray[Any]:
    return array.reshape(array.shape[0], *array.shape[-2:])


def _picture(pixels_CYX: NDArray[Any]) -> NDArray[np.float32]:
    """Three channels as colours, else the first in grey; each stretched between its percentiles."""
    chosen = pixels_CYX[:3] if len(pixels_CYX) >= 3 else pixels_CYX[:1]
    low, high = np.nanpercentile(chosen, (1, 99), axis=(1, 2))
    span = np.where(high > low, high - low, 1)
    stretched = np.clip((chosen - low[:, None, None]) / span[:, None, None], 0, 1)
    return np.asarray(np.moveaxis(stretched, 0, -1).squeeze(), np.float32)


def _smooth(values: Sequence[float]) -> NDArray[np.float64]:
    """Running mean over a fortieth of the curve, as far back as it goes."""
    width = max(1, len(values) // 40)
    sums = np.cumsum([0.0, *values])
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(0, ends - width)
    return np.asarray((sums[ends] - sums[begins]) / (ends - begins), np.float64)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
