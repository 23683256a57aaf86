"""ModelSpec: everything that says which network this is and how its input is prepared.

It travels in the checkpoint's header. Planning reads margins and legal tile sizes from it, so no torch here.

>>> spec = ModelSpec(preset="unet-2015", in_channels=1, classes=("background", "cell"))
>>> spec.receptive_field()
ReceptiveField(margin=92, multiple=16, remainder=12, exact=True, fixed=None)
>>> spec.input_size(388)
572
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from unet_batch.colours import Colours
from unet_batch.config import Config, load
from unet_batch.errors import SpecError
from unet_batch.models.instance_rules import InstanceRules
from unet_batch.models.presets import ARCHITECTURE_DEFAULTS, PRESETS
from unet_batch.models.receptive_field import (
    ReceptiveField,
    Stages,
    same_receptive_field,
    valid_receptive_field,
)

MAX_CLASSES = 65535
LIBRARIES = ("smp", "monai", "nnunet")
MEASURED = (*LIBRARIES, "exported")

Count = Annotated[int, Field(ge=1, le=65535)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Percentile = Annotated[float, Field(ge=0, le=100)]


class MeanStd(Config):
    """Fixed normalisation: (value - mean) / std, one pair per channel or one for all."""

    mean: tuple[Finite, ...]
    std: tuple[Positive, ...]


class Percentiles(Config):
    """Per-image normalisation: the low percentile becomes 0, the high one 1. Never taken per tile."""

    percentiles: tuple[Percentile, Percentile]

    @field_validator("percentiles")
    @classmethod
    def _rising(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError(f"the low percentile must be below the high one, got {list(value)}")
        return value


def _kind_of_normalisation(value: Any) -> str | None:
    if value == "none":
        return "none"
    if isinstance(value, Percentiles) or (isinstance(value, dict) and "percentiles" in value):
        return "percentiles"
    if isinstance(value, MeanStd) or (isinstance(value, dict) and {"mean", "std"} & set(value)):
        return "fixed"
    return None


Normalisation = Annotated[
    Annotated[Literal["none"], Tag("none")]
    | Annotated[MeanStd, Tag("fixed")]
    | Annotated[Percentiles, Tag("percentiles")],
    Discriminator(
        _kind_of_normalisation,
        custom_error_type="normalisation",
        custom_error_message="write none, {mean: [...], std: [...]} or {percentiles: [1, 99]}",
    ),
]


def _frozen(value: Any) -> Any:
    """Mappings as sorted pairs and lists as tuples, which can be compared and hashed."""
    if isinstance(value, dict):
        return tuple(
            (str(key), _frozen(inner)) for key, inner in sorted(value.items(), key=lambda kv: str(kv[0]))
        )
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _thawed(pairs: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    return dict(pairs)


Options = Annotated[
    tuple[tuple[str, Any], ...],
    BeforeValidator(_frozen),
    PlainSerializer(_thawed),
]
"""Arguments by name, written as a mapping; values are numbers, text, true, false and lists of them."""


class ModelSpec(Config):
    """A network description. ``preset: NAME`` expands to the preset's keys; other keys override them.

    Attributes:
        classes: class names (multiclass, multilabel) or names of the output channels (regression).
        width: channels of the finest level; doubled per level.
        depth: number of poolings.
        growth: where channels double: in the first convolution after a pooling or the last before it.
        up_channels: whether an up-convolution halves its channels or keeps them.
        dropout: probability at the end of the contracting path.
        blocks: whether the two convolutions of a level add their input to their result.
        pixel_size: micrometres or map units per pixel of the training images.
        colours: colour by class name, such as ``{water: blue, road: '#787880'}``; masks, exports and pictures
            show it. Classes that are not named have the usual colours.
        objects: how instances are made of what this network predicts, where nobody says otherwise.
        name: class of a network of another library (architecture smp, monai or nnunet), such as Unet.
        encoder: of a network of segmentation_models_pytorch, such as resnet34.
        options: further arguments of that class, by name.
        output: of an exported network that gives several, the key or position of the one that counts.
        activation: what an exported network ends in; ``none`` gives logits, ``argmax`` labels.
        output_scale: pixels of input to one of an exported network's output, which is enlarged as often.
        margin, multiple, remainder, exact, fixed_size: reach of an exported network or one of another
            library, see ``ReceptiveField``, with what enlarging its output adds. Of the latter it is measured
            where it is not given.
    """

    architecture: Literal["unet", "ternausnet", "smp", "monai", "nnunet", "exported"] = "unet"
    dims: Literal[2, 3] = 2
    in_channels: Count
    classes: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1, max_length=MAX_CLASSES)
    head: Literal["multiclass", "multilabel", "regression"] = "multiclass"
    normalisation: Normalisation = "none"
    pixel_size: Positive | None = None
    colours: Colours = ()
    objects: InstanceRules | None = None

    width: int = Field(default=32, ge=1, le=4096)
    depth: int = Field(default=4, ge=1, le=8)
    padding: Literal["valid", "same"] = "valid"
    norm: Literal["none", "batch", "instance", "group"] = "none"
    up: Literal["transposed", "interpolated"] = "transposed"
    growth: Literal["after_pool", "before_pool"] = "after_pool"
    up_channels: Literal["halved", "kept"] = "halved"
    up_bias: bool = True
    dropout: float = Field(default=0.0, ge=0, lt=1)
    blocks: Literal["plain", "residual"] = "plain"

    name: str | None = None
    encoder: str | None = None
    options: Options = ()

    output: str | int | None = None
    activation: Literal["none", "sigmoid", "softmax", "argmax"] = "none"
    output_scale: int = Field(default=1, ge=1, le=64)
    margin: int | None = Field(default=None, ge=0)
    multiple: int | None = Field(default=None, ge=1)
    remainder: int | None = Field(default=None, ge=0)
    exact: bool | None = None
    fixed_size: int | None = Field(default=None, ge=1)

    @classmethod
    def from_yaml(cls, path: Path, overrides: Sequence[str] = ()) -> "ModelSpec":
        """The spec that a YAML file describes, with ``key=value`` overrides.

        Raises:
            MissingError, ConfigError: see ``unet_batch.config.load``.
        """
        return load(cls, Path(path), overrides)

    @property
    def out_channels(self) -> int:
        """Channels of the logits."""
        return len(self.classes)

    def receptive_field(self) -> ReceptiveField:
        """Margin, legal input sizes and exactness of the network.

        Raises:
            SpecError: of a library's network that was not measured yet.
        """
        if self.architecture in MEASURED:
            return self._given_field()
        found = (
            valid_receptive_field(self._stages())
            if self.padding == "valid"
            else same_receptive_field(self._stages())
        )
        exact = self.norm in ("none", "batch")  # the others take statistics over the tile
        return ReceptiveField(found.margin, found.multiple, found.remainder, exact)

    def input_size(self, output: int) -> int:
        """The smallest legal input, in pixels per axis, that gives at least ``output`` pixels."""
        return self.receptive_field().input_size(output)

    def _given_field(self) -> ReceptiveField:
        if self.margin is None:
            raise SpecError(
                "`margin` is not measured yet; unet-batch model new writes a network that knows it"
            )
        return ReceptiveField(
            margin=self.margin,
            multiple=self.multiple or 1,
            remainder=self.remainder or 0,
            exact=bool(self.exact),
            fixed=self.fixed_size,
        )

    def _stages(self) -> Stages:
        if self.architecture == "ternausnet":
            return Stages(encoder=(1, 1, 2, 2, 2), bottom=1, decoder=(1,) * 5, overlap=1)
        overlap = 1 if self.up == "interpolated" else 0
        return Stages((2,) * self.depth, 2, (2,) * self.depth, overlap)

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Specs that name no ``objects`` look, and hash, as they did before there were such."""
        values: dict[str, Any] = handler(self)
        if self.objects is None:
            values.pop("objects", None)
        return values

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        name = values.pop("preset", None)
        if name is not None and (not isinstance(name, str) or name not in PRESETS):
            raise ValueError(f"unknown preset {name!r}; the presets are {', '.join(PRESETS)}")
        values = {**PRESETS.get(name or "", {}), **values}
        return {**_defaults_of(values.get("architecture")), **values}

    @model_validator(mode="after")
    def _consistent(self) -> "ModelSpec":
        self._check_classes()
        self._check_normalisation()
        if self.architecture == "exported":
            self._check_exported()
        elif self.architecture in LIBRARIES:
            self._check_library()
        else:
            self._only_default((*_EXPORTED_KEYS, *_LIBRARY_KEYS))
        if self.architecture == "ternausnet":
            self._check_ternausnet()
        return self

    def _check_library(self) -> None:
        self._only_default(("width", "depth", *_OWN_KEYS, "output", "activation", "output_scale"))
        if self.name is None:
            raise ValueError(f"a {self.architecture} network needs `name`, the class that it is of")
        if self.architecture == "smp" and self.encoder is None:
            raise ValueError("an smp network needs `encoder`, for example resnet34")
        if self.architecture != "smp":
            self._only_default(("encoder",))
        if self.padding != "same":
            raise ValueError(f"`padding` of {self.architecture} networks is always same; leave it out")

    def _check_classes(self) -> None:
        if self.head == "multiclass" and len(self.classes) < 2:
            raise ValueError("a multiclass head needs two or more classes; name the background too")
        name, times = Counter(self.classes).most_common(1)[0]
        if times > 1:
            raise ValueError(f"class {name!r} is named {times} times; give every class its own name")

    def _check_normalisation(self) -> None:
        if not isinstance(self.normalisation, MeanStd):
            return
        for key in ("mean", "std"):
            count = len(getattr(self.normalisation, key))
            if count not in (1, self.in_channels):
                raise ValueError(
                    f"normalisation.{key} has {count} values, not {self.in_channels}; give one per channel"
                )

    def _check_exported(self) -> None:
        if self.margin is None:
            raise ValueError("an exported network needs `margin`: pixels per side that its output depends on")
        self._only_default((*_UNET_KEYS, *_LIBRARY_KEYS))
        if self.activation == "softmax" and self.head != "multiclass":
            raise ValueError(f"`activation: softmax` is of classes, not of a {self.head} head; mend one")
        if self.activation == "argmax" and self.head != "multiclass":
            raise ValueError(
                f"`activation: argmax` gives labels, which need `head: multiclass`, not {self.head}"
            )
        if self.activation == "sigmoid" and self.head == "regression":
            raise ValueError("`activation: sigmoid` means probabilities; of a regression leave it out")
        reach = self._given_field()
        if reach.multiple % self.output_scale:
            raise ValueError(
                f"`multiple` {reach.multiple} is no multiple of `output_scale` {self.output_scale}; mend one"
            )
        if reach.remainder >= reach.multiple:
            raise ValueError(f"remainder {reach.remainder} must be below multiple {reach.multiple}")
        fixed = self.fixed_size
        if fixed is not None and (fixed <= 2 * reach.margin or fixed % reach.multiple != reach.remainder):
            raise ValueError(f"fixed_size {fixed} does not fit margin, multiple and remainder")

    def _check_ternausnet(self) -> None:
        self._only_default(("dims", *_OWN_KEYS))
        for key, value in ARCHITECTURE_DEFAULTS["ternausnet"].items():
            if key != "width" and getattr(self, key) != value:
                raise ValueError(f"`{key}` of a ternausnet is always {value}; leave it out")

    def _only_default(self, keys: Sequence[str]) -> None:
        for key in keys:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"`{key}` has no meaning for architecture {self.architecture}; leave it out")


_LIBRARY_KEYS = ("name", "encoder", "options")
_REACH_KEYS = ("margin", "multiple", "remainder", "exact", "fixed_size")
_EXPORTED_KEYS = ("output", "activation", "output_scale", *_REACH_KEYS)
_OWN_KEYS = ("norm", "up", "growth", "up_channels", "up_bias", "dropout", "blocks")
_UNET_KEYS = ("width", "depth", "padding", *_OWN_KEYS)


def _defaults_of(architecture: Any) -> dict[str, Any]:
    return ARCHITECTURE_DEFAULTS.get(architecture, {}) if isinstance(architecture, str) else {}
