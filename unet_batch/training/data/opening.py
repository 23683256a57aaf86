"""Opening one source: image, labels and weights of one grid, each as something that boxes are read from."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.models.spec import ModelSpec
from unet_batch.store.cache import ChunkCache
from unet_batch.store.image import Image
from unet_batch.tiling.border import Source
from unet_batch.tiling.box import Box
from unet_batch.training.data.config import DataConfig, SourceConfig
from unet_batch.training.data.instances import BorderWeightMap, Components, InteriorBorder
from unet_batch.training.data.labels import ClassNumbers, LabelForm
from unet_batch.training.data.region import ComputedSource, Pixels, Rule, Stores

# Cells in which labels are derived: large against their context, small enough to be made in passing.
_CELL = {2: 256, 3: 64}
_HEADS = {
    "classes": "multiclass",
    "instances": "multiclass",
    "multilabel": "multilabel",
    "regression": "regression",
}


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens sources for one network; decoded chunks and derived labels share one cache."""

    config: DataConfig
    spec: ModelSpec
    cache: ChunkCache

    def open(self, source: SourceConfig) -> Stores:
        """The stores of ``source``, checked against each other and the network.

        Raises:
            MissingError, FormatError: no such store.
            InputError: labels or weights of another grid, channels or labels that the network does not take.
        """
        form = self._form(source)
        image = Image.open(source.image, axes=source.axes, level=source.level)
        self._check_axes(image)
        channels = _channels(image, source)
        if len(channels) != self.spec.in_channels:
            raise InputError(
                f"{source.image}: {len(channels)} channels, the network takes {self.spec.in_channels}; "
                f"choose them with `channels`, or set the model's in_channels"
            )
        truth = _beside(image, source.labels, source, form.channels)
        if truth.dtype.kind not in ("biuf" if form.head == "regression" else "biu"):
            raise InputError(f"{source.labels}: holds {truth.dtype}, not class numbers; give integer labels")
        stored = self._pixels(truth)
        labels, instances = self._labels(stored, source, form)
        return Stores(
            pixels=Pixels(image, channels, self.cache),
            truth=truth,
            settings=source.model_dump_json(include={"remap", "unlabelled", "label_kind", "level"})
            + self.config.instances.model_dump_json(),
            labels=labels,
            instances=instances,
            weights=self._weights(image, source, labels, instances, truth),
            form=form,
            repeat=source.repeat,
        )

    def _form(self, source: SourceConfig) -> LabelForm:
        form = LabelForm.of(self.spec)
        if _HEADS[source.label_kind] != form.head:
            raise InputError(
                f"{source.labels}: {source.label_kind} labels do not fit a {form.head} head; set label_kind "
                f"or the model's head"
            )
        if source.label_kind == "instances" and len(form.names) not in (2, 3):
            raise InputError(
                f"{source.labels}: instance labels become background and interior, or background, interior "
                f"and border; the model has {len(form.names)} classes, give it two or three"
            )
        return form

    def _check_axes(self, image: Image) -> None:
        spatial = image.axes.replace("c", "").replace("t", "")
        if len(spatial) < self.spec.dims:
            raise InputError(
                f"{image.path}: axes {image.axes} have no z, and the network is 3-D; set dims to 2"
            )

    def _pixels(self, image: Image) -> Pixels:
        return Pixels(image, tuple(range(image.channels)), self.cache)

    def _labels(self, stored: Pixels, source: SourceConfig, form: LabelForm) -> tuple[Source, Source | None]:
        """Labels in their form, and instance numbers where there are such."""
        match source.label_kind:
            case "regression":
                return _Floats(stored), None
            case "instances":
                rule = InteriorBorder(
                    self.config.instances, form, _unlabelled(stored.image, source), self.spec.dims
                )
                return self._cells(stored, rule, rule.reach, source), stored
            case _:
                return ClassNumbers.of(stored, form, source), None

    def _weights(
        self, image: Image, source: SourceConfig, labels: Source, instances: Source | None, truth: Image
    ) -> Source | None:
        given = None if source.weights is None else self._pixels(_beside(image, source.weights, source, 1))
        if self.config.border_weights is None:
            return given
        numbers, unlabelled = instances, _unlabelled(truth, source)
        if numbers is None:
            numbers, unlabelled = _Derived(labels, self._component_rule(source)), -1
        rule = BorderWeightMap(self.config.border_weights, unlabelled, self.spec.dims)
        derived = self._cells(numbers, rule, rule.reach, source)
        return derived if given is None else _Product(given, derived)

    def _component_rule(self, source: SourceConfig) -> Components:
        settings = self.config.border_weights
        assert settings is not None, "asked for where they are wanted"
        names = self.spec.classes
        if source.label_kind != "classes" or settings.instances_of not in names:
            raise InputError(
                f"{source.labels}: border weights need instances; give instance labels, or name with "
                f"`border_weights.instances_of` one of the classes {', '.join(names)}"
            )
        return Components(names.index(settings.instances_of), self.spec.dims)

    def _cells(self, source: Source, rule: Rule, reach: int, config: SourceConfig) -> ComputedSource:
        outer, dims = len(source.shape) - self.spec.dims, self.spec.dims
        return ComputedSource(
            source,
            rule,
            cell=(1,) * outer + (_CELL[dims],) * dims,
            context=(0,) * outer + (reach,) * dims,
            cache=self.cache,
            name=f"{type(rule).__name__} of {config.model_dump_json()}",
        )


@dataclass(frozen=True, slots=True)
class _Floats:
    """Targets as float32."""

    source: Source

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    def read(self, box: Box) -> NDArray[Any]:
        return self.source.read(box).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Derived:
    """A rule applied to whatever box is asked for."""

    source: Source
    rule: Rule

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    def read(self, box: Box) -> NDArray[Any]:
        return self.rule(self.source.read(box))


@dataclass(frozen=True, slots=True)
class _Product:
    """Given weights times derived ones."""

    one: Source
    other: Source

    @property
    def shape(self) -> tuple[int, ...]:
        return self.one.shape

    def read(self, box: Box) -> NDArray[Any]:
        return np.asarray(np.multiply(self.one.read(box), self.other.read(box), dtype=np.float32))


def _beside(image: Image, path: str, source: SourceConfig, channels: int) -> Image:
    """The labels or weights of ``image`` at ``path``, refused where they have another grid."""
    try:
        found = Image.open(path, level=source.level)
    except InputError:  # a plain array whose axes have no names: those of the image
        axes = image.axes if "c" in image.axes and channels > 1 else image.axes.replace("c", "")
        found = Image.open(path, axes=axes, level=source.level)
    if found.shape != image.shape or found.channels != channels:
        raise InputError(
            f"{path}: has shape {found.shape} with {found.channels} channels; its image {image.path} needs "
            f"{image.shape} with {channels}; give labels of the same image"
        )
    if found.unit and found.unit == image.unit and not _same_size(found, image):
        raise InputError(
            f"{path}: a pixel is {dict(found.pixel_size)} {found.unit}, of its image {image.path} "
            f"{dict(image.pixel_size)}; give labels of the same grid"
        )
    return found


def _same_size(one: Image, other: Image) -> bool:
    shared = one.pixel_size.keys() & other.pixel_size.keys()
    return all(math.isclose(one.pixel_size[a], other.pixel_size[a], rel_tol=1e-3) for a in shared)


def _channels(image: Image, source: SourceConfig) -> tuple[int, ...]:
    if source.channels is None:
        return tuple(range(image.channels))
    return tuple(_channel(image, channel) for channel in source.channels)


def _channel(image: Image, channel: int | str) -> int:
    if isinstance(channel, int) and 0 <= channel < image.channels:
        return channel
    if isinstance(channel, str) and channel in image.channel_names:
        return image.channel_names.index(channel)
    names = f" ({', '.join(image.channel_names)})" if image.channel_names else ""
    raise InputError(f"{image.path}: no channel {channel}; choose among 0 to {image.channels - 1}{names}")


def _unlabelled(truth: Image, source: SourceConfig) -> int:
    """The instance number that stands for unlabelled: as given, else the largest of an unsigned type."""
    if source.unlabelled is not None:
        return source.unlabelled
    return int(np.iinfo(truth.dtype).max) if truth.dtype.kind == "u" else -1
