"""Features: shapes with the names of their classes, as a file has them. Knows no image and no numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROPERTIES = ("classification", "class", "label")
"""Where the class of an annotation is looked for."""


@dataclass(frozen=True, slots=True)
class Features:
    """Annotations in the order of their file.

    Attributes:
        shapes: shapely geometries, in the file's own coordinates.
        names: of their classes; None where they have none.
        planes: (n, 2) place along t and z; -1 where the annotation does not say.
        crs: of the coordinates, as the file says; None where it does not.
        in_pixels: whether the format has no other coordinates than columns and rows.
    """

    shapes: NDArray[np.object_]
    names: NDArray[np.object_]
    planes: NDArray[np.int64]
    crs: str | None
    in_pixels: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def chosen(self, which: NDArray[Any]) -> "Features":
        """Some of them, by mask or index."""
        return Features(self.shapes[which], self.names[which], self.planes[which], self.crs, self.in_pixels)


def class_name(properties: Mapping[str, Any], wanted: str | None) -> str | None:
    """The class that properties name, at ``wanted`` (dotted) or where it is usually found."""
    if wanted is not None:
        return _text(_at(properties, wanted))
    return next((name for key in PROPERTIES if (name := _text(properties.get(key))) is not None), None)


def _at(properties: Mapping[str, Any], dotted: str) -> object:
    if dotted in properties:
        return properties[dotted]
    value: object = properties
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _text(value: object) -> str | None:
    """A class as text: as it is, or QuPath's ``{name: ...}`` and ``{names: [...]}``."""
    if isinstance(value, Mapping):
        names = value.get("names")
        value = ": ".join(map(str, names)) if isinstance(names, list) else value.get("name")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text or None
