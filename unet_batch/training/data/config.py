"""What a YAML file may say about the stores that a network learns from, and how samples are drawn."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from unet_batch.config import Config

Extent = Annotated[int, Field(ge=1)]
Range = tuple[int, int]
LabelKind = Literal["classes", "instances", "multilabel", "regression"]


def _per_axis(value: object) -> object:
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


def _whole(value: object) -> object:
    return ((),) if value == "all" else value


Extents = Annotated[tuple[Extent, ...], BeforeValidator(_per_axis)]
Ranges = tuple[Range | None, ...]
Boxes = Annotated[tuple[Ranges, ...], BeforeValidator(_whole)]
"""``all``, or a list of boxes: [start, stop] in pixels per axis without c, null for a whole axis.

Axes that are left out at the end are whole: ``[[[0, 20]]]`` is the first twenty slices of a stack.
"""


class InstanceClasses(Config):
    """How instance numbers become classes 0 background, 1 interior, 2 border.

    Attributes:
        radius: a pixel within this distance (Euclidean, pixels) of another instance, or of the background,
            is border. With two classes in the model there is no border and every instance is class 1.
        core: an instance's border is also as wide as this share of the largest distance to its edge, which
            is half its width: so large touching instances come apart too, and slender ones keep an interior.
            0: ``radius`` alone. Of an instance that reaches past 64 pixels around a cell of 256 (3-D: 64)
            pixels, what is nearer counts.
        border: ``inner`` takes the border from the instances alone, so interior and border make up the
            foreground; ``thick`` takes it from both sides of every edge.
    """

    radius: float = Field(default=1.0, ge=1, le=16)
    core: float = Field(default=0.0, ge=0, lt=1)
    border: Literal["inner", "thick"] = "inner"

    @model_validator(mode="after")
    def _core_is_inside(self) -> Self:
        if self.core and self.border == "thick":
            raise ValueError("`core` widens the border inwards; it needs border inner")
        return self


class BorderWeights(Config):
    """Ronneberger 2015, eq. 2: 1 + w0 exp(-(d1 + d2)^2 / (2 sigma^2)) where no instance lies.

    Attributes:
        w0: weight of a pixel that touches two instances, above 1.
        sigma: how fast it falls with the distances to the two nearest instances, in pixels.
        inside: also inside instances, where d1 is 0 and d2 the distance to the nearest other one: for
            instances that touch without a pixel between them, whose border is a class of its own.
        instances_of: of class labels, the class whose connected parts are the instances.
    """

    w0: float = Field(default=10.0, gt=0)
    sigma: float = Field(default=5.0, gt=0, le=32)
    inside: bool = False
    instances_of: str | None = None


class SourceConfig(Config):
    """One image with its labels.

    Attributes:
        image: OME-Zarr image or plain Zarr array.
        labels: Zarr of the same grid. 255 (uint16: 65535; float: NaN) is unlabelled.
        weights: Zarr of the same grid with a factor for the loss of every pixel.
        label_kind: ``classes``: class numbers; ``instances``: 0 and instance numbers; ``multilabel``: a
            channel of 0 and 1 per class; ``regression``: a channel of values per output.
        train: boxes to learn from.
        validation: boxes to choose the best checkpoint on.
        test: boxes for the scores at the end.
        axes: axes of a plain Zarr image, e.g. zyx or cyx.
        channels: numbers or names of the image's channels, in the order that the network takes.
        level: level of the image's pyramid, and of the labels', to learn on.
        remap: class number of each stored value, null for unlabelled; values not named stay as they are.
        unlabelled: a stored value that is unlabelled too.
        repeat: samples are drawn as if its pixels were there so many times; more for what is small or rare.
    """

    image: str
    labels: str
    weights: str | None = None
    label_kind: LabelKind = "classes"
    train: Boxes = ()
    validation: Boxes = ()
    test: Boxes = ()
    axes: str | None = None
    channels: tuple[int | str, ...] | None = Field(default=None, min_length=1)
    level: int = Field(default=0, ge=0)
    remap: dict[int, int | None] = Field(default_factory=dict)
    unlabelled: int | None = None
    repeat: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    @field_validator("train", "validation", "test")
    @classmethod
    def _ranges_are_not_empty(cls, boxes: tuple[Ranges, ...]) -> tuple[Ranges, ...]:
        for pair in (pair for box in boxes for pair in box if pair is not None):
            if not 0 <= pair[0] < pair[1]:
                raise ValueError(f"the range {list(pair)} is empty; write [start, stop] with start < stop")
        return boxes

    @model_validator(mode="after")
    def _fits_the_kind(self) -> Self:
        if self.remap and self.label_kind in ("multilabel", "regression"):
            raise ValueError(f"`remap` has no meaning for {self.label_kind} labels; leave it out")
        if self.unlabelled is not None and self.label_kind == "regression":
            raise ValueError("`unlabelled` has no meaning for regression, where NaN is; leave it out")
        return self


class DataConfig(Config):
    """The stores to learn from.

    Attributes:
        sources: images with their labels.
        measure: take mean and std of every channel over the training boxes where the model's normalisation
            is ``none``, and keep them in the model.
        instances: how instance labels become classes.
        border_weights: the weight map of the U-Net paper, or null.
        cache_mb: memory for decoded chunks and derived labels.
    """

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    measure: bool = True
    instances: InstanceClasses = InstanceClasses()
    border_weights: BorderWeights | None = None
    cache_mb: int = Field(default=1024, ge=1)

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> Self:
        if not any(source.train for source in self.sources):
            raise ValueError("no source has `train` boxes; name what to learn from, or write `train: all`")
        return self


class SamplingConfig(Config):
    """How samples are drawn. Sample i of step s follows from the seed, s and i alone.

    Attributes:
        patch: pixels that one sample answers for, one number or one per spatial axis. A network with valid
            convolutions gets as much more as it needs; a padded one gets the patch.
        balance: share of the samples that are drawn for a class, each class as often (see class_weights);
            the others fall on labelled pixels at random.
        class_weights: how often a class is drawn for, relative to the others (1).
        seed: of everything random in the data and its augmentation.
        threads: threads that read ahead; 0 reads in the loop.
        prefetch: steps that are read ahead.
    """

    patch: Extents = (256,)
    balance: float = Field(default=0.5, ge=0, le=1)
    class_weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**63)
    threads: int = Field(default=2, ge=0, le=64)
    prefetch: int = Field(default=4, ge=1, le=64)
