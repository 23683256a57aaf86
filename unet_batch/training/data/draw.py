"""Which patch a sample is: drawn from the occupancy index by a random generator of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.tiling.box import Box
from unet_batch.training.data.config import SamplingConfig
from unet_batch.training.data.region import Region
from unet_batch.training.data.sources import Sources
from unet_batch.training.patch import Patch


@dataclass(frozen=True, slots=True)
class Draw:
    """Draws patches: some for a class, each class as often as the settings say, others for any label.

    ``chances``: of each class, then of any label.
    """

    sources: Sources
    output: tuple[int, ...]
    chances: NDArray[np.float64]

    @classmethod
    def of(cls, sources: Sources, sampling: SamplingConfig, patch: Patch) -> "Draw":
        """Draws of ``patch`` by ``sampling``.

        Raises:
            InputError: weights for a class that is not there.
        """
        return cls(sources, patch.output, _chances(sources, sampling))

    def __call__(self, rng: np.random.Generator) -> tuple[Region, Box]:
        """A region and the box (all axes but c) that the sample answers for, a labelled pixel inside."""
        column = int(rng.choice(len(self.chances), p=self.chances))
        number, cell = self.sources.occupancy.draw(column, rng)
        region = self.sources.train[number]
        pixel = self._pixel(region, cell.intersect(region.box), column, rng)
        return region, self._around(pixel, region.box, rng)

    def _pixel(self, region: Region, cell: Box, column: int, rng: np.random.Generator) -> tuple[int, ...]:
        """A pixel of ``cell`` that has the class of ``column``, or any label."""
        form = self.sources.form
        labels = region.read_labels(cell)
        if column == len(form.names) or form.head == "regression":
            found = form.labelled(labels)
        else:
            found = labels[column] == 1 if form.head == "multilabel" else labels[0] == column
        flat = np.flatnonzero(found)
        index = np.unravel_index(int(flat[rng.integers(len(flat))]), found.shape)
        return tuple(a + int(i) for a, i in zip(cell.start, index, strict=True))

    def _around(self, pixel: Sequence[int], inside: Box, rng: np.random.Generator) -> Box:
        """A box with ``pixel`` in it, anywhere, within ``inside`` where it fits."""
        outer = len(pixel) - len(self.output)
        start = list(pixel[:outer])
        for at, size, low, high in zip(
            pixel[outer:], self.output, inside.start[outer:], inside.stop[outer:], strict=True
        ):
            first, last = max(at - size + 1, min(low, high - size)), min(at, max(low, high - size))
            start.append(int(rng.integers(first, last + 1)))
        extent = (1,) * outer + self.output
        return Box(tuple(start), tuple(a + n for a, n in zip(start, extent, strict=True)))


def _chances(sources: Sources, sampling: SamplingConfig) -> NDArray[np.float64]:
    names, totals = sources.form.names, sources.occupancy.totals
    for name in sampling.class_weights:
        if name not in names:
            raise InputError(f"sampling.class_weights: no class {name!r}; the classes are {', '.join(names)}")
    wanted = np.array([sampling.class_weights.get(name, 1.0) for name in names]) * (np.array(totals) > 0)
    if sources.form.head == "regression":
        wanted[:] = 0
    share = sampling.balance if wanted.sum() > 0 else 0.0
    balanced = wanted / wanted.sum() * share if share else np.zeros(len(names))
    return np.append(balanced, 1 - balanced.sum())
