"""Stand-ins for the seams of the house, each as small as its Protocol."""

from dataclasses import dataclass, field

import numpy as np

from unet_batch.tiling import Box


@dataclass
class ArraySource:
    """A tiling Source over pixels in memory (C, *shape) that remembers what was asked of it."""

    pixels: np.ndarray
    boxes: list[Box] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pixels.shape[1:]

    def read(self, box: Box) -> np.ndarray:
        assert Box.of_shape(self.shape).contains(box)
        self.boxes.append(box)
        return self.pixels[(slice(None), *box.slices)]
