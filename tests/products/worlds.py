"""Mask stores and images from arrays, and masks that look like something."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from tests.worlds import write_image
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import LABELS, MasksLayout

NAMES = ("background", "cell", "debris")


def write_masks(
    path: Path,
    labels: np.ndarray,
    axes: str = "yx",
    names: tuple[str, ...] = NAMES,
    kind: str = "multiclass",
    block: int = 32,
    dims: int | None = None,
    **keys: object,
) -> Path:
    """A finished store of labels, (C, *shape) for multilabel, else of the shape; without plan or ledger."""
    labels_C = labels if kind == "multilabel" else labels[None]
    shape, dims = labels_C.shape[1:], dims or len(axes)
    whole = (1,) * (len(shape) - dims) + (block,) * dims
    chunk = (1,) * (len(shape) - dims) + (block // 2,) * dims
    layout = MasksLayout(kind, axes, shape, whole, chunk, dims, names, **keys)
    masks = Masks.create(path, layout, {})
    layer = masks.layers[LABELS]
    for one in layout.blocks:
        pixels = labels_C[(slice(None), *one.box.slices)].astype(layout.dtype)
        masks.write_block(one.box, {LABELS: layer.halved(pixels, layout.halve(LABELS))})
    masks.finish()
    return path


def blobs(shape: tuple[int, ...], seed: int, classes: int = 3, size: float = 1.2) -> np.ndarray:
    """Classes in smooth patches, some of them touching; the first is the most common."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), size)
    cuts = np.quantile(field, np.linspace(0.5, 1, classes)[:-1])
    return np.digitize(field, cuts).astype(np.uint8)


def cells(shape: tuple[int, ...], seed: int, border: int = 2) -> np.ndarray:
    """Background 0, interiors 1 and, around and between them, borders 2, as a border-class network gives."""
    near = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5)
    interior = near > np.quantile(near, 0.7)
    wide = ndimage.binary_dilation(interior, iterations=border)
    return np.where(interior, 1, np.where(wide, 2, 0)).astype(np.uint8)


__all__ = ["NAMES", "blobs", "cells", "write_image", "write_masks"]
