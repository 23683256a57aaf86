"""Reading samples: each follows from (seed, step, number) alone, so any rank may read it at any time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.models.normalise import Affine
from unet_batch.tiling.box import Box
from unet_batch.train.batch import Batch
from unet_batch.train.data.config import SamplingConfig
from unet_batch.train.data.draw import Draw
from unet_batch.train.data.form import LabelForm
from unet_batch.train.data.region import Region, named
from unet_batch.train.data.sources import Sources
from unet_batch.train.patch import Patch


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a Batch has of a sample besides its pixels."""

    seed: int
    where: str
    affine: Affine


@dataclass(frozen=True, slots=True)
class Slots:
    """The arrays of a batch, to be filled sample by sample, from several threads."""

    images: NDArray[Any]
    labels: NDArray[Any]
    weights: NDArray[np.float32] | None

    def batch(self, drawn: list[Drawn]) -> Batch:
        """The batch, once every slot is filled."""
        return Batch(
            images=self.images,
            labels=self.labels,
            weights=self.weights,
            seeds=tuple(one.seed for one in drawn),
            where=tuple(one.where for one in drawn),
            affines=tuple(one.affine for one in drawn),
        )


@dataclass(frozen=True, slots=True)
class Sampler:
    """Reads samples of ``patch``. Safe to share between threads.

    ``affines`` normalise the images, by the number of the region; ``dtype`` is one that holds all images.
    """

    draw: Draw
    patch: Patch
    seed: int
    affines: dict[int, Affine]
    form: LabelForm
    channels: int
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
            form=sources.form,
            channels=sources.spec.in_channels,
            weighted=any(region.stores.weights is not None for region in sources.train),
            dtype=np.result_type(*(region.stores.image.dtype for region in sources.train)),
        )

    def slots(self, count: int) -> Slots:
        """Room for ``count`` samples."""
        read = self.patch.read
        return Slots(
            images=np.empty((count, self.channels, *read), self.dtype),
            labels=np.empty((count, self.form.channels, *read), self.form.dtype),
            weights=np.empty((count, *read), np.float32) if self.weighted else None,
        )

    def read(self, slots: Slots, place: int, step: int, number: int) -> Drawn:
        """Fill a ``place`` of ``slots`` with sample ``number`` of the global batch of ``step``."""
        sequence = np.random.SeedSequence([self.seed, step, number])
        region, box = self.draw(np.random.Generator(np.random.PCG64(sequence)))
        wide, spatial = self._wide(box), self.patch.read  # axes that are not spatial have one pixel
        image = region.read_image(wide)
        slots.images[place] = image.reshape(-1, *spatial)
        slots.labels[place] = _without_nodata(image, region.read_labels(wide), region).reshape(-1, *spatial)
        if slots.weights is not None:
            slots.weights[place] = region.read_weights(wide).reshape(spatial)
        return Drawn(
            seed=int(sequence.generate_state(2, np.uint64)[1] >> np.uint64(1)),
            where=named(region.stores.image.path, box),
            affine=self.affines[region.number],
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
