"""Reading samples: each follows from (seed, step, number) alone, so any rank may read it at any time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.models.normalise import Affine
from unet_batch.tiling.box import Box
from unet_batch.training.augment.config import AugmentConfig
from unet_batch.training.augment.drawn import draw
from unet_batch.training.augment.warp import reach
from unet_batch.training.data.config import SamplingConfig
from unet_batch.training.data.draw import Draw
from unet_batch.training.data.region import Region, named
from unet_batch.training.data.sources import Sources
from unet_batch.training.patch import Patch


@dataclass(frozen=True, slots=True)
class Read:
    """One sample as it was read: image (C, *read), labels (L, *read), weights (*read), and what is known."""

    image: NDArray[Any]
    labels: NDArray[Any]
    weights: NDArray[np.float32] | None
    seed: int
    where: str
    affine: Affine


@dataclass(frozen=True, slots=True)
class Sampler:
    """Reads samples of ``patch``, each with the context that its warp looks into. For any number of threads.

    ``affines`` normalise the images, by the number of the region; ``dtype`` is one that holds all images.
    """

    draw: Draw
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
    ) -> "Sampler":
        """A sampler of the training regions."""
        return cls(
            draw=Draw.of(sources, sampling, patch),
            patch=patch,
            augment=augment,
            seed=sampling.seed,
            affines={region.number: region.stores.affine(sources.spec) for region in sources.train},
            channels=sources.spec.in_channels,
            weighted=any(region.stores.weights is not None for region in sources.train),
            dtype=np.result_type(*(region.stores.image.dtype for region in sources.train)),
        )

    def read(self, step: int, number: int) -> Read:
        """Sample ``number`` of the global batch of ``step``."""
        sequence = np.random.SeedSequence([self.seed, step, number])
        seed = int(sequence.generate_state(2, np.uint64)[1] >> np.uint64(1))
        region, box = self.draw(np.random.Generator(np.random.PCG64(sequence)))
        context = self._context(seed)
        wide = self._wide(box, context)  # axes that are not spatial have one pixel
        spatial = tuple(n + 2 * c for n, c in zip(self.patch.input, context, strict=True))
        image = region.read_image(wide)
        labels = _without_nodata(image, region.read_labels(wide), region)
        return Read(
            image=image.reshape(-1, *spatial).astype(self.dtype, copy=False),
            labels=labels.reshape(-1, *spatial),
            weights=region.read_weights(wide).reshape(spatial) if self.weighted else None,
            seed=seed,
            where=named(region.stores.image.path, box),
            affine=self.affines[region.number],
        )

    def _context(self, seed: int) -> tuple[int, ...]:
        """Pixels per side past the network's input that the warp of ``seed`` looks at, per axis."""
        drawn = draw(self.augment, seed, self.patch.input, self.channels)
        largest = self.augment.context(self.patch.input)
        return tuple(map(min, reach(drawn, self.patch.input), largest))

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
    absent = (np.isnan(image) if np.isnan(nodata) else image == nodata).all(axis=0)
    return np.where(absent, labels.dtype.type(region.stores.form.fill), labels)
