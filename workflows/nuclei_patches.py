"""Labelled pictures of nuclei and the random patches that the demo network learns from.

Shapes: N batch, C channels, Y X pixels.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nuclei_stains import Field, Labels, Stainer
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from unet_batch.models.normalise import affine_for, apply
from unet_batch.models.spec import ModelSpec
from unet_batch.tiling import Box

KINDS = {"HE_purple": 0.55, "fluo": 0.37, "brightfield_gray": 0.08}  # share of the patches
OUTPUT = 212  # pixels per side that a patch is scored on; it reads the margin on top


@dataclass(frozen=True, slots=True)
class Picture:
    """A labelled image: pixels (3, Y, X) uint8 and labels (Y, X)."""

    kind: str
    pixels: NDArray[np.uint8]
    labels: Labels

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent without channels."""
        return self.labels.shape

    def read(self, box: Box) -> NDArray[np.generic]:
        """Pixels (3, *box.shape)."""
        return self.pixels[(slice(None), *box.slices)]


def load_pictures(data: Path, split: str) -> list[Picture]:
    """All pictures of ``split``; grey ones get three equal channels."""
    entries = [e for e in json.loads((data / "index.json").read_text()) if e["split"] == split]
    pictures = []
    for entry in entries:
        with Image.open(data / split / "images" / entry["file"]) as image:
            pixels = np.moveaxis(np.asarray(image.convert("RGB")), -1, 0)
        with Image.open(data / split / "masks" / entry["file"]) as mask:
            pictures.append(Picture(entry["kind"], pixels, np.asarray(mask)))
    return pictures


def network_input(spec: ModelSpec, pixels_CYX: NDArray[Any], seen_CYX: NDArray[Any]) -> Tensor:
    """(1, C, Y, X) normalised by the percentiles of the pixels ``seen``: at every second one, for speed."""
    affine = affine_for(spec, lambda q: np.percentile(seen_CYX[:, ::2, ::2], q, axis=(1, 2)).T)
    x_NCYX = apply(torch.from_numpy(pixels_CYX[None]), affine)
    return x_NCYX.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, slots=True)
class Patches:
    """Random training patches: place, scale and turn, then stain and optics."""

    pictures: list[Picture]
    spec: ModelSpec
    rng: np.random.Generator

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Normalised (N, 3, Y, X) and labels (N, Y, X) without the margin."""
        kinds = self.rng.choice(list(KINDS), count, p=list(KINDS.values()))
        pairs = [self._patch([p for p in self.pictures if p.kind == kind]) for kind in kinds]
        x_NCYX = torch.cat([network_input(self.spec, x, x) for x, _ in pairs])
        margin = self.spec.reach().margin
        y_NYX = torch.from_numpy(np.stack([y for _, y in pairs])).long()[:, margin:-margin, margin:-margin]
        return x_NCYX.contiguous(memory_format=torch.channels_last), y_NYX

    def _patch(self, pictures: list[Picture]) -> tuple[Field, Labels]:
        picture = pictures[self.rng.integers(len(pictures))]
        pixels, labels = self._cut(picture)
        pixels = self._coloured(picture.kind, pixels, labels)
        return self._optics(pixels), labels

    def _cut(self, picture: Picture) -> tuple[Field, Labels]:
        """A window at a random place, scale and angle, mirrored at the picture's edge."""
        size = self.spec.input_size(OUTPUT)
        angle = self.rng.uniform(0, 2 * np.pi)
        zoom = np.exp(self.rng.uniform(np.log(0.5), np.log(1.5)) + self.rng.uniform(-0.3, 0.3, 2))
        flip, half = self.rng.choice([-1, 1]), np.array(picture.shape[::-1]) / 2
        turn = np.array([[flip * np.cos(angle), -np.sin(angle)], [flip * np.sin(angle), np.cos(angle)]])
        theta = np.hstack([turn * (size / 2 / zoom) / half[:, None], self.rng.uniform(-1, 1, (2, 1))])
        grid = functional.affine_grid(
            torch.from_numpy(theta[None].astype(np.float32)), [1, 3, size, size], align_corners=True
        )
        cut = partial(functional.grid_sample, grid=grid, padding_mode="reflection", align_corners=True)
        pixels = cut(torch.from_numpy(picture.pixels[None].astype(np.float32)), mode="bilinear")
        labels = cut(torch.from_numpy(picture.labels[None, None].astype(np.float32)), mode="nearest")
        return pixels[0].numpy(), labels[0, 0].numpy().astype(np.uint8)

    def _coloured(self, kind: str, pixels: Field, labels: Labels) -> Field:
        stainer = Stainer(self.rng)
        if self.rng.random() < (0.35 if kind == "brightfield_gray" else 0.55):
            return stainer.restain(pixels, labels, fluorescent=kind == "fluo")
        if kind == "HE_purple":
            return stainer.tint(pixels)
        gain = np.exp(self.rng.uniform(-0.4, 0.8)) if kind == "fluo" else self.rng.uniform(0.7, 1.2)
        return np.asarray(np.clip(pixels * gain, 0, 255), np.float32)

    def _optics(self, pixels: Field) -> Field:
        """Gamma, blur and noise."""
        power = np.exp(self.rng.uniform(-0.3, 0.3))
        pixels = np.asarray(255 * (np.clip(pixels, 0, 255) / 255) ** power, np.float32)
        if self.rng.random() < 0.3:
            pixels += np.roll(pixels, 1, 1)
            pixels += np.roll(pixels, 1, 2)
            pixels /= 4
        noise = self.rng.uniform(0, 6) * self.rng.standard_normal(pixels.shape, np.float32)
        return np.asarray(pixels + noise, np.float32)

    def stream(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches without end; the next one is made while the last one is used."""
        with ThreadPoolExecutor(1) as pool:
            upcoming = pool.submit(self.batch, count)
            while True:
                ready = upcoming.result()
                upcoming = pool.submit(self.batch, count)
                yield ready
