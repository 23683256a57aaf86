"""What a YAML file may say about augmentation: each kind with its probability and range; absent is off."""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from unet_batch.config import Config

Probability = Annotated[float, Field(ge=0, le=1)]


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if not value[0] <= value[1]:
        raise ValueError(f"the range {list(value)} falls; write [low, high]")
    return value


Finite = Annotated[float, Field(allow_inf_nan=False)]
Pair = Annotated[tuple[Finite, Finite], AfterValidator(_rising)]
Factor = Annotated[float, Field(gt=0, le=16)]
Factors = Annotated[tuple[Factor, Factor], AfterValidator(_rising)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Amounts = Annotated[tuple[NotNegative, NotNegative], AfterValidator(_rising)]
Slant = Annotated[float, Field(ge=-60, le=60)]
Slants = Annotated[tuple[Slant, Slant], AfterValidator(_rising)]


class Flip(Config):
    """Each of ``axes`` is mirrored with ``probability``; null takes y and x, and z of isotropic volumes."""

    probability: Probability = 0.5
    axes: Literal["y", "x", "yx", "zyx"] | None = None


class Turn(Config):
    """0 to 3 right-angle turns, in the plane of y and x (any plane of isotropic volumes)."""

    probability: Probability = 1.0


class Rotation(Config):
    """Rotation by degrees within ``range``, about z (any axis of isotropic volumes)."""

    probability: Probability = 0.5
    range: Pair = (-180.0, 180.0)


class Scale(Config):
    """Magnification by a factor within ``range``, even in its logarithm; alike on all axes."""

    probability: Probability = 0.3
    range: Factors = (0.8, 1.25)


class Shear(Config):
    """Slant of x over y by degrees within ``range``."""

    probability: Probability = 0.2
    range: Slants = (-10.0, 10.0)


class Stretch(Config):
    """Magnification by a factor within ``range``, even in its logarithm, along one direction in the plane."""

    probability: Probability = 0.2
    range: Factors = (0.7, 1.4)


class Elastic(Config):
    """Ronneberger 2015, 3.1: normal displacements on a coarse ``grid`` over the input, cubic in between.

    ``std`` is in pixels.
    """

    probability: Probability = 0.5
    grid: int = Field(default=3, ge=2, le=16)
    std: float = Field(default=10.0, gt=0, le=128)


class Gamma(Config):
    """Power within ``range`` (even in its logarithm) of the values between a channel's extremes."""

    probability: Probability = 0.3
    range: Factors = (0.7, 1.5)


class Brightness(Config):
    """Shift of all channels within ``range``, in standard deviations."""

    probability: Probability = 0.3
    range: Pair = (-0.5, 0.5)


class Contrast(Config):
    """Distance of the values from their mean times a factor within ``range``."""

    probability: Probability = 0.3
    range: Factors = (0.75, 1.25)


class ChannelShift(Config):
    """Shift of every channel for itself within ``range``, in standard deviations."""

    probability: Probability = 0.2
    range: Pair = (-0.3, 0.3)


class Noise(Config):
    """Normal noise with a standard deviation within ``range``, in standard deviations of the channel."""

    probability: Probability = 0.2
    range: Amounts = (0.0, 0.2)


class Blur(Config):
    """Gaussian blur with a sigma within ``range``, in pixels."""

    probability: Probability = 0.2
    range: Annotated[tuple[Factor, Factor], AfterValidator(_rising)] = (0.5, 1.5)


class Stain(Config):
    """Haematoxylin, eosin and residue of 8-bit RGB slides, each times 1 + u plus v, u and v within ``range``.

    Source: Tellez et al. 2018, arXiv:1808.05896; stain vectors of Ruifrok and Johnston 2001.
    """

    probability: Probability = 0.5
    range: Pair = (-0.05, 0.05)


class Restain(Config):
    """A labelled 8-bit RGB picture is drawn again as another kind of slide, once in ``probability`` samples.

    Pixels of any class but the first are taken for nuclei. They turn blue (haematoxylin) or brown (DAB), what
    surrounds them brown, pink (eosin) or pale: bright nuclei on black and dark ones on white alike.
    """

    probability: Probability = 0.3


class Grey(Config):
    """All channels become one mixture of them, with weights that are drawn."""

    probability: Probability = 0.1


class Invert(Config):
    """Normalised values are mirrored: dark nuclei on white become bright ones on black."""

    probability: Probability = 0.1


class Cutout(Config):
    """``count`` boxes, each as long as a share within ``range`` of the input's axes, become the mean."""

    probability: Probability = 0.2
    count: int = Field(default=2, ge=1, le=64)
    range: Annotated[tuple[Probability, Probability], AfterValidator(_rising)] = (0.05, 0.2)


class AugmentConfig(Config):
    """Kinds that are absent are off. Geometry becomes one warp, so that images are interpolated once.

    Attributes:
        isotropic: a volume whose voxels are alike on all axes, to be flipped and turned about any of them.
    """

    flip: Flip | None = None
    turn: Turn | None = None
    rotation: Rotation | None = None
    scale: Scale | None = None
    shear: Shear | None = None
    elastic: Elastic | None = None
    gamma: Gamma | None = None
    brightness: Brightness | None = None
    contrast: Contrast | None = None
    channel_shift: ChannelShift | None = None
    noise: Noise | None = None
    blur: Blur | None = None
    stain: Stain | None = None
    stretch: Stretch | None = None
    restain: Restain | None = None
    grey: Grey | None = None
    invert: Invert | None = None
    cutout: Cutout | None = None
    isotropic: bool = False

    def context(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Pixels per side that a warp of ``size`` pixels may look past them, per axis.

        Exact for rotation, scale and shear, enough with stretch; displacements of more than three standard
        deviations past the rim see a mirrored image.
        """
        half = [n / 2 for n in size]
        if self.stretch:
            longer = max(0.0, 1 / self.stretch.range[0] - 1) * math.hypot(*half[-2:])
            half[-2:] = [h + longer for h in half[-2:]]
        if self.shear:
            half[-1] += half[-2] * max(abs(math.tan(math.radians(angle))) for angle in self.shear.range)
        if self.rotation:
            worst = min(math.pi, math.radians(max(abs(angle) for angle in self.rotation.range)))
            half = _tilted(half, worst) if self.isotropic and len(size) == 3 else _rotated(half, worst)
        zoom = 1 / min(1.0, self.scale.range[0]) if self.scale else 1.0
        stray = 3 * self.elastic.std if self.elastic else 0.0
        return tuple(max(0, math.ceil(h * zoom + stray - n / 2)) for h, n in zip(half, size, strict=True))


def _rotated(half: list[float], worst: float) -> list[float]:
    """Half extents of the hull of a box turned about z by at most ``worst`` radians."""
    *deep, y, x = half
    return [*deep, _swung(y, x, worst), _swung(x, y, worst)]


def _swung(along: float, across: float, worst: float) -> float:
    angle = min(worst, math.atan2(across, along))  # where the corner stands on the axis
    return math.cos(angle) * along + math.sin(angle) * across


def _tilted(half: list[float], worst: float) -> list[float]:
    """The same for turns about any axis: no corner moves farther than a chord of its sphere."""
    radius = math.hypot(*half)
    return [min(radius, h + 2 * math.sin(worst / 2) * radius) for h in half]
