"""Request: what a person asked for, checked against the image and the networks. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unet_batch.errors import InputError
from unet_batch.formats.image import open_image
from unet_batch.models.checkpoint import file_hash, read_spec
from unet_batch.models.spec import ModelSpec
from unet_batch.prediction.config import NodataMask, PredictConfig
from unet_batch.prediction.mask import INSIDE, open_mask
from unet_batch.prediction.plan import ImagePart
from unet_batch.prediction.scale import fitted, with_size
from unet_batch.store.image import Image
from unet_batch.store.level import View
from unet_batch.store.nodata import Nodata, with_nan
from unet_batch.store.resample import resampled


@dataclass(frozen=True, slots=True)
class Request:
    """An image, networks that fit it and each other, and settings."""

    image: Image
    models: tuple[str, ...]
    spec: ModelSpec
    hashes: tuple[str, ...]
    config: PredictConfig

    @classmethod
    def open(
        cls, image: str, models: Sequence[str], config: PredictConfig, axes: str | None = None
    ) -> "Request":
        """The request, or an error that names what does not fit.

        Raises:
            MissingError, FormatError, CheckpointError: an image or checkpoint that cannot be opened.
            InputError: channels, dimensions or a region that do not fit.
        """
        if not models:
            raise InputError("no model: give a checkpoint with --model")
        opened = open_image(image, View(axes, config.series))
        specs = [read_spec(Path(model)) for model in models]
        opened = fitted(opened, specs[0].pixel_size, config)
        for model, spec in zip(models[1:], specs[1:], strict=True):
            _check_alike(models[0], specs[0], model, spec)
        hashes = tuple(file_hash(Path(m)) for m in models)
        return cls(opened, tuple(models), specs[0], hashes, config).checked()

    @classmethod
    def of(cls, image: Image, hashes: Sequence[str], spec: ModelSpec, config: PredictConfig) -> "Request":
        """The request for an image and networks of ``spec`` that are open already.

        Raises:
            InputError: channels, dimensions or a region that do not fit.
        """
        return cls(image, tuple(hashes), spec, tuple(hashes), config).checked()

    def checked(self) -> "Request":
        """This request, or an InputError that names what does not fit."""
        request = self
        _check_axes(request)
        _check_roi(request)
        _check_nodata_mask(request)
        request.channels()
        return request

    def as_begun(self, stored: ImagePart) -> "Request":
        """The request for a store that was begun with ``stored``: its level and pixel size, where auto."""
        config, view = self.config, self.image.view
        same = (self.image.level, view.resample) == (stored.level, stored.resample)
        if same or config.level != "auto" or config.resample == "always":
            return self
        whole = open_image(self.image.path, View(view.axes, view.series), 0)
        image = with_size(whole, config.pixel_size).at_level(min(stored.level, len(whole.levels) - 1))
        return replace(self, image=image if stored.resample is None else resampled(image, stored.resample))

    @property
    def axes(self) -> str:
        """The image's axes without the channels."""
        return self.image.axes.replace("c", "")

    @property
    def outer(self) -> int:
        """How many leading axes the network does not see (a 2-D network sees a stack plane by plane)."""
        return len(self.axes) - self.spec.dims

    @property
    def roi(self) -> tuple[tuple[int, int], ...]:
        """The region to compute; the whole image unless set."""
        return self.config.roi or tuple((0, n) for n in self.image.shape)

    @property
    def nodata(self) -> Nodata:
        """The values that mean no data: the setting's, else the image's own; NaN always, of floats."""
        given = self.config.nodata
        if isinstance(given, NodataMask):
            return with_nan(None, self.image.dtype)
        return self.image.nodata if given is None else with_nan(given, self.image.dtype)

    @property
    def nodata_mask(self) -> str | None:
        """The array whose zeros mean no data, the setting's or the image's own, as a plan names it."""
        if isinstance(self.config.nodata, NodataMask):
            return self.config.nodata.mask
        own = self.image.nodata_mask if self.config.nodata is None else None
        return None if own is None else INSIDE + own.removeprefix(f"{self.image.path}/")

    def channels(self) -> tuple[int, ...]:
        """The image's channels in the order that the network takes them."""
        image, wanted = self.image, self.config.channels
        chosen = tuple(range(image.channels)) if wanted is None else tuple(map(self._channel, wanted))
        if len(chosen) != self.spec.in_channels:
            raise InputError(
                f"{image.path}: {len(chosen)} of its {image.channels} channels would be used, but the "
                f"network takes {self.spec.in_channels}; choose with --set channels=[...] (names: "
                f"{', '.join(image.channel_names) or 'none'})"
            )
        return chosen

    def _channel(self, wanted: int | str) -> int:
        names = self.image.channel_names
        if isinstance(wanted, str) and wanted in names:
            return names.index(wanted)
        if isinstance(wanted, int) and 0 <= wanted < self.image.channels:
            return wanted
        raise InputError(
            f"{self.image.path}: no channel {wanted!r}; it has 0 to {self.image.channels - 1} "
            f"({', '.join(names) or 'unnamed'})"
        )


def _check_alike(first: str, spec: ModelSpec, other_path: str, other: ModelSpec) -> None:
    for key in ("dims", "in_channels", "classes", "head", "normalisation", "architecture"):
        if getattr(spec, key) != getattr(other, key):
            raise InputError(
                f"{other_path}: `{key}` is {getattr(other, key)}, that of {first} is {getattr(spec, key)}; "
                "an ensemble needs networks of one kind"
            )
    if spec.receptive_field() != other.receptive_field():
        raise InputError(f"{other_path}: another margin or tile size than {first}; run them one by one")


def _check_axes(request: Request) -> None:
    if request.outer < 0:
        raise InputError(
            f"{request.image.path}: axes {request.image.axes} give {len(request.axes)} dimensions, the "
            f"network needs {request.spec.dims}; give an image with a z axis or a 2-D network"
        )


def _check_nodata_mask(request: Request) -> None:
    if request.nodata_mask is None:
        return
    open_mask(request.nodata_mask, request.image)


def _check_roi(request: Request) -> None:
    shape = request.image.shape
    if len(request.roi) != len(shape):
        raise InputError(
            f"roi has {len(request.roi)} ranges, the image has the axes {request.axes}; "
            "give one [start, stop] each"
        )
    for axis, (start, stop), size in zip(request.axes, request.roi, shape, strict=True):
        if stop > size:
            raise InputError(f"roi [{start}, {stop}] on axis {axis} reaches past the image's {size} pixels")
