"""Augment: a Batch as it was read becomes a Sample on the device: stain, one warp, normalisation, intensity.

What is drawn follows from the seed of each sample alone, so neither the other samples nor the ranks show.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unet_batch.devices.device import sent
from unet_batch.errors import InputError
from unet_batch.models import normalise
from unet_batch.models.normalise import Affine, affine_for
from unet_batch.models.spec import MeanStd, ModelSpec, Percentiles
from unet_batch.training.augment import intensity
from unet_batch.training.augment.config import AugmentConfig
from unet_batch.training.augment.intensity import jittered
from unet_batch.training.augment.parameters import AugmentParameters, draw_parameters
from unet_batch.training.augment.restain import Restainer
from unet_batch.training.augment.warp import Mode, Warp
from unet_batch.training.batch import Batch, Sample

_Pixels = NDArray[Any]


class Augment:
    """Augmentation for one network. Keeps no state between batches."""

    def __init__(self, config: AugmentConfig, spec: ModelSpec, input_size: tuple[int, ...]) -> None:
        """``input_size`` is the network's input per spatial axis; valid networks answer for its centre.

        Raises:
            InputError: stains for images that are not RGB, or for a head that has no background.
        """
        if config.stain is not None and spec.in_channels != 3:
            raise InputError(
                f"augment.stain: needs 3 channels (RGB), the model has {spec.in_channels}; leave stain out"
            )
        if config.restain is not None and (spec.in_channels, spec.dims, spec.head) != (3, 2, "multiclass"):
            raise InputError(
                f"augment.restain: needs flat RGB images and a multiclass head, the model has {spec.dims} "
                f"dimensions, {spec.in_channels} channels and a {spec.head} head; leave restain out"
            )
        margin = spec.receptive_field().margin if spec.padding == "valid" else 0
        self.config, self.spec = config, spec
        self.input = tuple(input_size)
        self.output = tuple(n - 2 * margin for n in input_size)

    def __call__(self, batch: Batch, device: torch.device | str) -> Sample:
        """What the network sees of ``batch`` on ``device``.

        Raises:
            InputError: stain jitter for images that are not 8-bit.
        """
        place = torch.device(device)
        drawn = [
            draw_parameters(self.config, seed, self.input, self.spec.in_channels) for seed in batch.seeds
        ]
        warps = [
            Warp.of(one, image.shape[1:], self.input, place)
            for one, image in zip(drawn, batch.images, strict=True)
        ]
        images = _warped(warps, batch.images, self.input, "bilinear", place)
        labels, weights = self._truth(batch, warps, place)
        self._restain(images, labels, drawn, batch)
        self._stain(images, drawn, batch)
        images = self._normalised(images, drawn, batch)
        intensity.change(images, drawn, batch.seeds, self._unit(batch))
        return Sample(images, labels, weights)

    def _restain(self, images: Tensor, labels: Tensor, drawn: list[AugmentParameters], batch: Batch) -> None:
        if self.config.restain is not None and batch.images[0].dtype != np.uint8:
            raise InputError(
                f"{batch.where[0]}: holds {batch.images[0].dtype}, other stains need 8-bit images; leave "
                f"augment.restain out"
            )
        for image, label, one in zip(images, labels, drawn, strict=True):
            if one.restain is not None:
                generator = torch.Generator(image.device).manual_seed(one.restain)
                image.copy_(Restainer(generator)(image, (label > 0) & (label < len(self.spec.classes))))

    def _stain(self, images: Tensor, drawn: list[AugmentParameters], batch: Batch) -> None:
        if self.config.stain is not None and batch.images[0].dtype != np.uint8:
            raise InputError(
                f"{batch.where[0]}: holds {batch.images[0].dtype}, stain jitter needs 8-bit images; leave "
                f"augment.stain out"
            )
        for i, one in enumerate(drawn):
            if one.stain is not None:
                images[i] = jittered(images[i], *one.stain)

    def _normalised(self, images: Tensor, drawn: list[AugmentParameters], batch: Batch) -> Tensor:
        affines = list(batch.affines or (affine_for(self.spec, _no_percentiles),) * len(batch))
        if isinstance(self.spec.normalisation, Percentiles):
            for i, one in enumerate(drawn):
                if one.restain is not None:
                    affines[i] = _of_a_slide(images[i], self.spec, one.restain)
        if len(set(affines)) == 1:
            normal = normalise.apply(images, affines[0])
        else:
            normal = torch.cat([_alone(images[i], affine) for i, affine in enumerate(affines)])
        # As in prediction: a NaN (no data) would spread over the network's whole reach.
        return torch.nan_to_num(normal, nan=0.0) if batch.images[0].dtype.kind == "f" else normal

    def _unit(self, batch: Batch) -> float:
        """One standard deviation of normalised values, or what stands for it: a quarter of their range."""
        match self.spec.normalisation:
            case MeanStd():
                return 1.0
            case Percentiles():
                return 0.25
            case _:
                dtype = batch.images[0].dtype
                return float(np.iinfo(dtype).max) / 4 if dtype.kind in "iu" else 0.25

    def _truth(self, batch: Batch, warps: list[Warp], device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Labels and weights follow the image by the nearest pixel; float targets are interpolated."""
        regression = self.spec.head == "regression"
        labels = _warped(warps, batch.labels, self.output, "bilinear" if regression else "nearest", device)
        weights = None
        if batch.weights is not None:
            one_channel = [one[np.newaxis] for one in batch.weights]
            weights = _warped(warps, one_channel, self.output, "nearest", device)[:, 0]
        if regression:
            return labels, weights
        numbers = labels.to(torch.int64)
        return (numbers[:, 0] if self.spec.head == "multiclass" else numbers), weights


def _warped(
    warps: Sequence[Warp], many: Sequence[_Pixels], size: tuple[int, ...], mode: Mode, device: torch.device
) -> Tensor:
    """(N, C, *size) float32 of N samples (C, *read)."""
    out = torch.empty((len(many), len(many[0]), *size), dtype=torch.float32, device=device)
    for one, warp, pixels in zip(out, warps, many, strict=True):
        warp.fill(one, _on(pixels, device), mode)
    return out


def _on(pixels: _Pixels, device: torch.device) -> Tensor:
    if pixels.dtype in (np.uint16, np.uint32, np.uint64):
        pixels = pixels.astype(
            np.int32 if pixels.dtype == np.uint16 else np.float32
        )  # torch indexes no others
    # What was read may be a view of a cached chunk, which is not to be written; torch warns of such.
    tensor = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
    return sent(tensor, device)


def _alone(image_CS: Tensor, affine: Affine) -> Tensor:
    return normalise.apply(image_CS[None], affine)


def _of_a_slide(image_CS: Tensor, spec: ModelSpec, seed: int) -> Affine:
    """What normalises a slide that the restained ``image_CS`` is part of: most have white and dark places."""
    rng = np.random.default_rng(seed)
    white, dark = (rng.random(), rng.uniform(0.6, 1.0)) if rng.random() < 0.75 else (0.0, 1.0)

    def percentiles(q: Sequence[float]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.percentile(image_CS.flatten(1).cpu().numpy(), q, axis=1).T.astype(
            "f8"
        )
        found[:, 0] *= dark
        found[:, -1] += white * np.maximum(242 - found[:, -1], 0)
        return found

    return affine_for(spec, percentiles)


def _no_percentiles(q: object) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    raise ValueError(f"percentiles {q} follow from the image; a batch must bring its affines")
