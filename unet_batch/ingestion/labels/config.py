"""What `unet-batch ingest labels` may be told."""

from typing import Annotated, Self

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from unet_batch.colours import Colour
from unet_batch.ingestion.config import IngestConfig


class LabelsConfig(IngestConfig):
    """How a label image is read: its values, or its colours, become classes.

    Attributes:
        classes: class names in the order of their numbers; null: those of ``colours``, else ``class 0`` and
            so on.
        map: class (its number or name) by stored value, null for unlabelled; values that are not named stay
            as they are. ``{255: 1}`` reads a mask of 0 and 255.
        colours: colour by class name; the pixels of no other colour may be there.
        unlabelled: the colour of pixels that have no label.
        instances: whether values are numbers of instances, 0 where there is none; they stay as they are.
        tolerance: how far each of red, green and blue may be from a listed colour, as in lossy files.
    """

    classes: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(default=None, min_length=1)
    map: dict[int, int | str | None] = Field(default_factory=dict)
    colours: dict[str, Colour] = Field(default_factory=dict)
    unlabelled: Colour | None = None
    instances: bool = False
    tolerance: NonNegativeInt = 0

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if classes is not None and len(set(classes)) != len(classes):
            raise ValueError(f"classes {list(classes)} name one twice; give every class its own name")
        return classes

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.map and self.colours:
            raise ValueError("`map` is of values and `colours` of colours; give one of them")
        if self.unlabelled is not None and not self.colours:
            raise ValueError("`unlabelled` is a colour beside `colours`; map a value to null instead")
        if self.instances and (self.map or self.colours or self.classes):
            raise ValueError("`instances` keeps numbers as they are; leave map, colours and classes out")
        known = self.classes
        for name in (*self.colours, *(one for one in self.map.values() if isinstance(one, str))):
            if known is not None and name not in known:
                raise ValueError(f"class {name!r} is not among classes {list(known)}; add it there")
        return self
