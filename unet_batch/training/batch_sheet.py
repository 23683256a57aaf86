"""A sheet of the samples of a first step as the network would see them: drawn, augmented and labelled."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor

from unet_batch.atomic import atomic_path
from unet_batch.models.device import resolve_device
from unet_batch.models.spec import ModelSpec
from unet_batch.store.io_errors import writing
from unet_batch.store.ome import class_colours
from unet_batch.training.augment.augment import Augment
from unet_batch.training.batch import Sample
from unet_batch.training.config import TrainConfig
from unet_batch.training.data.labels import LabelForm
from unet_batch.training.data.loader import Loader
from unet_batch.training.data.sources import open_sources
from unet_batch.training.files import RunFolder
from unet_batch.training.network import spec_of


def show_batch(config: TrainConfig, count: int) -> Path:
    """Draw the first ``count`` samples of the first step to OUT/batch.png; returns its path.

    Raises:
        UnetBatchError: data or settings that cannot be used.
    """
    folder = RunFolder(Path(config.run.out))
    with writing(str(folder.root)):
        folder.root.mkdir(parents=True, exist_ok=True)
    sources = open_sources(config.data, spec_of(config.model), folder.index)
    with Loader(sources, config.sampling, config.augment, count) as loader:
        batch = next(loader)
        augment = Augment(config.augment, sources.spec, loader.patch.input)
    sample = augment(batch, resolve_device(config.run.device))
    path = folder.root / "batch.png"
    batch_sheet(sample, sources.spec, path, batch.where)
    return path


_COLUMNS = 4
_INCHES = 3.0
_GREY = (0.5, 0.5, 0.5, 0.45)
_MOST_CHANNELS = 8
"""Label channels that are drawn over one image."""


def batch_sheet(sample: Sample, spec: ModelSpec, path: Path, titles: Sequence[str] = ()) -> None:
    """Write a PNG: of each sample the image, then the same with its labels, and its weights if it has any.

    Volumes show the plane with the most labels. Unlabelled pixels are grey; past the labels of a valid
    network lies what it sees and does not answer for.

    Raises:
        OutputError: a place that cannot be written.
    """
    panels = 2 if sample.weights is None else 3
    columns = max(1, _COLUMNS // panels) * panels
    rows = math.ceil(len(sample.images) * panels / columns)
    figure = Figure(figsize=(_INCHES * columns, (_INCHES + 0.3) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in axes:
        panel.set_axis_off()
    for i in range(len(sample.images)):
        _show(list(axes[i * panels : (i + 1) * panels]), sample, i, spec)
        axes[i * panels].set_title(titles[i] if i < len(titles) else f"{i}", fontsize=6, loc="left")
    if spec.head != "regression":
        handles = [
            Line2D([], [], color=_rgb(colour), lw=4, label=name)
            for name, colour in zip(spec.classes, _colours(spec), strict=True)
        ]
        figure.legend(handles=handles[:20], loc="outside lower center", ncols=6, fontsize=8)
    _write(figure, path)


def _show(panels: Sequence[Axes], sample: Sample, i: int, spec: ModelSpec) -> None:
    labels = sample.labels[i] if spec.head != "multiclass" else sample.labels[i][None]
    plane = _plane(labels, sample.images[i], spec)
    image, truth = _cut(sample.images[i], plane[0]), _cut(labels, plane[1])
    y, x = ((n - m) / 2 for n, m in zip(image.shape[1:], truth.shape[1:], strict=True))
    extent = (x - 0.5, x + truth.shape[2] - 0.5, y + truth.shape[1] - 0.5, y - 0.5)
    for panel in panels[:2]:
        panel.imshow(_displayed(image), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    shown: dict[str, Any] = {"extent": extent, "interpolation": "nearest"}
    if spec.head == "regression":
        panels[1].imshow(truth[0], cmap="viridis", **shown)
    else:
        panels[1].imshow(_overlay(truth, spec), **shown)
    if sample.weights is not None:
        weights = _cut(sample.weights[i][None], plane[1])[0]
        panels[2].imshow(weights, cmap="magma", vmin=0, **shown)
        panels[2].set_title(f"weights to {weights.max():.3g}", fontsize=6)
    for panel in panels:
        panel.set_xlim(-0.5, image.shape[2] - 0.5)
        panel.set_ylim(image.shape[1] - 0.5, -0.5)


def _plane(labels_LS: Tensor, image_CS: Tensor, spec: ModelSpec) -> tuple[int, int]:
    """The plane of most labels of a volume: its place in the image and in the labels."""
    if spec.dims == 2:
        return 0, 0
    known = ~labels_LS.isnan() if spec.head == "regression" else labels_LS != _fill(spec)
    best = int(known.sum(dim=(0, 2, 3)).argmax())
    return best + (image_CS.shape[1] - labels_LS.shape[1]) // 2, best


def _cut(x_CS: Tensor, plane: int) -> NDArray[Any]:
    """(C, y, x)."""
    return (x_CS if x_CS.ndim == 3 else x_CS[:, plane]).detach().cpu().numpy()


def _displayed(image_CYX: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values 0 to 1 between the first and last percentile: RGB of three channels, else grey of the first."""
    shown = image_CYX if len(image_CYX) == 3 else image_CYX[:1]
    low, high = np.percentile(shown, (0.5, 99.5))
    stretched = np.clip((shown - low) / max(high - low, 1e-6), 0, 1)
    return np.moveaxis(stretched, 0, -1) if len(shown) == 3 else stretched[0]


def _overlay(labels_LYX: NDArray[np.int64], spec: ModelSpec) -> NDArray[np.float32]:
    """(y, x, RGBA): classes in their colours, unlabelled pixels grey."""
    overlay = np.zeros((*labels_LYX.shape[1:], 4), np.float32)
    overlay[(labels_LYX == _fill(spec)).all(axis=0)] = _GREY
    for number, colour in enumerate(_colours(spec)):
        if spec.head == "multilabel":
            if number < _MOST_CHANNELS:
                overlay[labels_LYX[number] == 1] = (*_rgb(colour), 0.4)
        else:
            overlay[labels_LYX[0] == number] = (*_rgb(colour), 0.4 * (colour[3] > 0))
    return overlay


def _colours(spec: ModelSpec) -> tuple[tuple[int, int, int, int], ...]:
    return class_colours(spec.classes)


def _rgb(colour: tuple[int, int, int, int]) -> tuple[float, float, float]:
    return colour[0] / 255, colour[1] / 255, colour[2] / 255


def _fill(spec: ModelSpec) -> int:
    return int(LabelForm.of(spec).fill)


def _write(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with atomic_path(path, fsync=False) as scratch:
        figure.savefig(scratch, format="png", dpi=100)
