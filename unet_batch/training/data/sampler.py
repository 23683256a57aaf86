"""PatchSampler and SampleReader: which patch a sample is, and reading it.

Each sample follows from (seed, step, number) alone, so any rank may read it at any time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.models.normalise import Affine
from unet_batch.store.nodata import is_missing
from unet_batch.tiling.box import Box
from unet_batch.training.augment.config import AugmentConfig
from unet_batch.training.augment.parameters import draw_parameters
from unet_batch.training.augment.warp import context_of
from unet_batch.training.data.config import SamplingConfig
from unet_batch.training.data.region import Region, named
from unet_batch.training.data.sources import Sources
from unet_batch.training.patch import Patch


@dataclass(frozen=True, slots=True)
class PatchSampler:
    """Draws patches: some for a class, each class as often as the settings say, others for any label.

    ``chances``: of each class, then of any label.
    """

    sources: Sources
    output: tuple[int, ...]
    chances: NDArray[np.float64]

    @classmethod
    def of(cls, sources: Sources, sampling: SamplingConfig, patch: Patch) -> "PatchSampler":
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


@dataclass(frozen=True, slots=True)
class RawSample:
    """One sample as it was read: image (C, *read), labels (L, *read), weights (*read), and what is known."""

    image: NDArray[Any]
    labels: NDArray[Any]
    weights: NDArray[np.float32] | None
    seed: int
    where: str
    affine: Affine


@dataclass(frozen=True, slots=True)
class SampleReader:
    """Reads samples of ``patch``, each with the context that its warp looks into. For any number of threads.

    ``affines`` normalise the images, by the number of the region; ``dtype`` is one that holds all images.
    """

    patches: PatchSampler
    patch: Patch
    augment: AugmentConfig
    seed: int
    affines: dict[int, Affine]
    channels: int
    weighted: bool
    dtype: np.dtype[Any]

    @classmethod
    def of(
        cls, sources: Sources, sampling: SamplingConfig, patch: Patch, augment: AugmentConfig
    ) -> "SampleReader":
        """A sampler of the training regions."""
        return cls(
            patches=PatchSampler.of(sources, sampling, patch),
            patch=patch,
            augment=augment,
            seed=sampling.seed,
            affines={region.number: region.stores.affine(sources.spec) for region in sources.train},
            channels=sources.spec.in_channels,
            weighted=any(region.stores.weights is not None for region in sources.train),
            dtype=np.result_type(*(region.stores.image.dtype for region in sources.train)),
        )

    def read(self, step: int, number: int) -> RawSample:
        """Sample ``number`` of the global batch of ``step``."""
        sequence = np.random.SeedSequence([self.seed, step, number])
        seed = int(sequence.generate_state(2, np.uint64)[1] >> np.uint64(1))
        region, box = self.patches(np.random.Generator(np.random.PCG64(sequence)))
        context = self._context(seed)
        wide = self._wide(box, context)  # axes that are not spatial have one pixel
        spatial = tuple(n + 2 * c for n, c in zip(self.patch.input, context, strict=True))
        image = region.read_image(wide)
        labels = _without_nodata(image, region.read_labels(wide), region)
        return RawSample(
            image=image.reshape(-1, *spatial).astype(self.dtype, copy=False),
            labels=labels.reshape(-1, *spatial),
            weights=region.read_weights(wide).reshape(spatial) if self.weighted else None,
            seed=seed,
            where=named(region.stores.image.path, box),
            affine=self.affines[region.number],
        )

    def _context(self, seed: int) -> tuple[int, ...]:
        """Pixels per side past the network's input that the warp of ``seed`` looks at, per axis."""
        drawn = draw_parameters(self.augment, seed, self.patch.input, self.channels)
        largest = self.augment.context(self.patch.input)
        return tuple(map(min, context_of(drawn, self.patch.input), largest))

    def _wide(self, box: Box, context: tuple[int, ...]) -> Box:
        """What is read for ``box``: with the network's margin and the context of a warp."""
        outer = (0,) * (box.ndim - len(context))
        margins = ((i - o) // 2 for i, o in zip(self.patch.input, self.patch.output, strict=True))
        around = tuple(m + c for m, c in zip(margins, context, strict=True))
        return box.grow(outer + around, outer + around)


def _without_nodata(image: NDArray[Any], labels: NDArray[Any], region: Region) -> NDArray[Any]:
    """Labels, unlabelled where the image has no data: prediction leaves those pixels out too."""
    nodata = region.stores.image.nodata
    if nodata is None:
        return labels
    absent = is_missing(image, nodata).all(axis=0)
    return np.where(absent, labels.dtype.type(region.stores.form.fill), labels)
