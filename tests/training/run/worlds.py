"""A small labelled world and the settings that train on it in a second or two."""

from pathlib import Path

import numpy as np

from tests.worlds import write_image
from unet_batch.training.config import TrainConfig
from unet_batch.training.hooks import Hooks

EXTENT = 64
NETWORK = {"in_channels": 1, "classes": ["ground", "disc"], "width": 4, "depth": 1, "norm": "batch"}


def write_world(folder: Path) -> Path:
    """Three planes of bright discs, their classes, instance numbers and values, as Zarr."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:EXTENT, :EXTENT]
    numbers = np.zeros((3, EXTENT, EXTENT), np.uint16)
    for plane in numbers:
        for number in range(1, 8):
            cy, cx, r = rng.integers(0, EXTENT, 2)[0], rng.integers(0, EXTENT), rng.integers(4, 8)
            plane[((y - cy) ** 2 + (x - cx) ** 2 < r * r) & (plane == 0)] = number
    labels = (numbers > 0).astype(np.uint8)
    image = (60 + 100 * labels + rng.normal(0, 15, labels.shape)).clip(0, 255).astype(np.uint8)
    write_image(folder / "image.zarr", image, "zyx")
    write_image(folder / "labels.zarr", labels, "zyx", fill=255)
    write_image(folder / "numbers.zarr", numbers, "zyx")
    write_image(folder / "values.zarr", labels.astype(np.float32) * 2 - 1, "zyx", fill=np.nan)
    return folder


def values_of(world: Path, out: Path, **sections: object) -> dict:
    """Settings as a YAML file would say them; ``sections`` add to or replace keys of theirs."""
    source = {
        "image": str(world / "image.zarr"),
        "labels": str(world / "labels.zarr"),
        "train": [[[0, 1]]],
        "validation": [[[1, 2]]],
        "test": [[[2, 3]]],
    }
    values = {
        "model": {"spec": NETWORK},
        "data": {"sources": [source]},
        "sampling": {"patch": 16, "threads": 1},
        "augment": {"flip": {"probability": 0.5}, "elastic": {"probability": 0.5, "std": 3}},
        "optimiser": {"learning_rate": 1e-2},
        "validation": {"every": 5},
        "run": {"out": str(out), "steps": 10, "batch": 4, "device": "cpu", "precision": "fp32"},
    }
    for name, changes in sections.items():
        values[name] = {**values.get(name, {}), **changes}
    return values


def config_of(world: Path, out: Path, **sections: object) -> TrainConfig:
    """The same, checked."""
    return TrainConfig.model_validate(values_of(world, out, **sections))


class Watch:
    """Hooks that keep every step's progress, and stop after ``last`` steps."""

    def __init__(self, last: int | None = None) -> None:
        self.steps, self.messages, self.last = [], [], last
        self.hooks = Hooks(self.see, self.enough)

    def see(self, progress) -> None:
        if progress.message:
            self.messages.append(progress.message)
        else:
            self.steps.append(progress)

    def enough(self) -> bool:
        return self.last is not None and len(self.steps) >= self.last - 1

    @property
    def losses(self):
        return [progress.loss for progress in self.steps]
