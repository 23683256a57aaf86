"""What a YAML file or ``--set key=value`` may say about previews."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from unet_batch.config import Config

Channel = int | str


class PreviewConfig(Config):
    """How a picture looks.

    Attributes:
        size: longest side of the picture in pixels; a level that is given wins.
        channels: up to three of the image's channels, by number or name: one is grey, two are magenta and
            green, three are red, green and blue. None takes the first ones.
        contrast: percentiles of each channel that are shown black and white; None takes 1 and 99, and shows
            8-bit colours as they are.
        opacity: of the classes, from 0 to 1; their outlines are opaque.
        outlines: draw the border of each class or object.
        frame: draw a scale bar and, below the picture, a legend.
    """

    size: int = Field(default=1600, ge=64, le=20000)
    channels: Annotated[tuple[Channel, ...], Field(min_length=1, max_length=3)] | None = None
    contrast: tuple[float, float] | None = None
    opacity: float = Field(default=0.35, ge=0, le=1)
    outlines: bool = True
    frame: bool = True

    @model_validator(mode="after")
    def _black_is_below_white(self) -> Self:
        if self.contrast is not None and not 0 <= self.contrast[0] < self.contrast[1] <= 100:
            raise ValueError("contrast: write two percentiles from 0 to 100, the lower first")
        return self
