"""Reading one sample: which follows from (seed, step, number) alone, so any rank may read it at any time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.models.normalise import Affine
from unet_batch.tiling.box import Box
from unet_batch.train.batch import Batch
from unet_batch.train.data.config import SamplingConfig
from unet_batch.train.data.draw import Draw
from unet_batch.train.data.region import Region, named
from unet_batch.train.data.sources import Sources
from unet_batch.train.patch import Patch


@dataclass(frozen=True, slots=True)
class Crop:
    """(C, *read) pixels, (L, *read) labels, (*read) weights or None, and what a Batch has of them besides."""

    image: NDArray[Any]
    labels: NDArray[Any]
    weights: NDArray[np.float32] | None
    seed: int
    where: str
    affine: Affine


@dataclass(frozen=True, slots=True)
class Sampler:
    """Reads samples of ``patch``. Safe to share between threads."""

    draw: Draw
    patch: Patch
    seed: int
    affines: dict[int, Affine]
    weighted: bool
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, sources: Sources, sampling: SamplingConfig, patch: Patch) -> "Sampler":
        """A sampler of the training regions."""
        return cls(
            draw=Draw.of(sources, sampling, patch),
            patch=patch,
            seed=sampling.seed,
            affines={region.number: region.stores.affine(sources.spec) for region in sources.train},
            weighted=any(region.stores.weights is not None for region in sources.train),
            dtype=np.result_type(*(region.stores.image.dtype for region in sources.train)),
        )

    def read(self, step: int, number: int) -> Crop:
        """Sample ``number`` of the global batch of ``step``."""
        sequence = np.random.SeedSequence([self.seed, step, number])
        region, box = self.draw(np.random.Generator(np.random.PCG64(sequence)))
        wide = self._wide(box)
        image, labels = region.read_image(wide), region.read_labels(wide)
        labels = _without_nodata(image, labels, region)
        spatial = self.patch.read  # the axes before them have one pixel
        return Crop(
            image=image.reshape(-1, *spatial),
            labels=labels.reshape(-1, *spatial),
            weights=region.read_weights(wide).reshape(spatial) if self.weighted else None,
            seed=int(sequence.generate_state(2, np.uint64)[1] >> np.uint64(1)),
            where=named(region.stores.image.path, box),
            affine=self.affines[region.number],
        )

    def together(self, crops: list[Crop]) -> Batch:
        """Crops as one batch."""
        weights = [crop.weights for crop in crops if crop.weights is not None]
        return Batch(
            images=np.stack([crop.image for crop in crops], dtype=self.dtype, casting="safe"),
            labels=np.stack([crop.labels for crop in crops]),
            weights=np.stack(weights) if weights else None,
            seeds=tuple(crop.seed for crop in crops),
            where=tuple(crop.where for crop in crops),
            affines=tuple(crop.affine for crop in crops),
        )

    def _wide(self, box: Box) -> Box:
        """What is read for ``box``: with the network's margin and the context of a warp."""
        outer = (0,) * (box.ndim - len(self.patch.read))
        around = tuple((r - o) // 2 for r, o in zip(self.patch.read, self.patch.output, strict=True))
        return box.grow(outer + around, outer + around)


def _without_nodata(image: NDArray[Any], labels: NDArray[Any], region: Region) -> NDArray[Any]:
    """Labels, unlabelled where the image has no data: prediction leaves those pixels out too."""
    nodata = region.stores.image.nodata
    if nodata is None:
        return labels
    absent = (np.isnan(image) if np.isnan(nodata) else image == nodata).all(axis=0)
    return np.where(absent, labels.dtype.type(region.stores.form.fill), labels)
