"""Colours: how settings write them, and those that common classes have by their names."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

Rgb = tuple[int, int, int]
Rgba = tuple[int, int, int, int]

NAMED: Mapping[str, Rgb] = {
    "black": (0, 0, 0), "white": (255, 255, 255), "red": (255, 0, 0), "green": (0, 255, 0),
    "blue": (0, 0, 255), "yellow": (255, 255, 0), "magenta": (255, 0, 255), "cyan": (0, 255, 255),
    "grey": (128, 128, 128), "gray": (128, 128, 128), "orange": (255, 165, 0), "brown": (139, 90, 43),
}  # fmt: skip


def _parsed(value: Any) -> Any:
    """Three numbers of a colour: from `#ff0000`, `255 0 0`, `255, 0, 0`, a list, or a plain name."""
    if isinstance(value, str):
        text = value.strip().lower()
        if text in NAMED:
            return NAMED[text]
        if re.fullmatch(r"#?[0-9a-f]{6}", text):
            return tuple(bytes.fromhex(text.removeprefix("#")))
        return tuple(re.split(r"[\s,;]+", text))
    return value


Byte = Annotated[int, Field(ge=0, le=255)]
Colour = Annotated[tuple[Byte, Byte, Byte], BeforeValidator(_parsed)]


def _pairs(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else value


Colours = Annotated[tuple[tuple[str, Colour], ...], BeforeValidator(_pairs)]
"""Colour by class name, written as a mapping; kept as pairs, which have a hash."""

_WATER, _TREES, _GRASS, _FIELD, _SOIL = (
    (52, 118, 204),
    (34, 112, 54),
    (140, 198, 90),
    (230, 200, 92),
    (166, 124, 82),
)
_BUILT, _ROAD, _SNOW, _CLOUD = (204, 74, 62), (120, 120, 128), (214, 234, 248), (188, 190, 196)
_CLASSES: Mapping[str, Rgb] = {
    **dict.fromkeys(("water", "river", "lake", "sea", "ocean"), _WATER),
    **dict.fromkeys(("forest", "tree", "trees", "woodland", "wood"), _TREES),
    **dict.fromkeys(("grass", "grassland", "meadow", "vegetation", "lawn"), _GRASS),
    **dict.fromkeys(("cropland", "crop", "crops", "field", "agriculture", "farmland"), _FIELD),
    **dict.fromkeys(("soil", "bare", "bare soil", "sand", "ground"), _SOIL),
    **dict.fromkeys(("built", "built up", "built-up", "building", "buildings", "house", "urban"), _BUILT),
    **dict.fromkeys(("road", "roads", "street"), _ROAD),
    **dict.fromkeys(("snow", "ice", "snow and ice"), _SNOW),
    **dict.fromkeys(("cloud", "clouds"), _CLOUD),
    "shadow": (70, 70, 80),
    "wetland": (64, 160, 160),
    **dict.fromkeys(("nucleus", "nuclei", "interior", "cell", "cells"), (64, 120, 230)),
    **dict.fromkeys(("border", "boundary", "membrane"), (240, 190, 40)),
    **dict.fromkeys(("tumor", "tumour", "cancer"), (200, 40, 60)),
    "stroma": (110, 190, 120),
    "necrosis": (90, 80, 70),
    **dict.fromkeys(("fat", "adipose"), (240, 220, 150)),
    "blood": (150, 20, 30),
    **dict.fromkeys(("lymphocyte", "lymphocytes", "immune"), (130, 60, 180)),
}


def of_class(name: str) -> Rgba | None:
    """The colour of a common class, such as blue of water; None of others."""
    found = _CLASSES.get(name.strip().lower().replace("_", " "))
    return None if found is None else (*found, 255)


def chosen(names: Sequence[str], given: Mapping[str, Rgb], usual: Sequence[Rgba]) -> tuple[Rgba, ...]:
    """``usual`` colours of ``names``, with those that are ``given`` in their place; none where none is."""
    if not given:
        return ()
    return tuple((*given[name], 255) if name in given else usual[i] for i, name in enumerate(names))
