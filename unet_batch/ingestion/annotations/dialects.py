"""COCO, labelme and Pascal VOC: annotations in pixels, as the tools that draw them write them.

A file is known by what it holds, not by its name. What they give are Features like those of GeoJSON.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import shapely

from unet_batch.errors import FormatError, InputError, one_line, raised_as
from unet_batch.ingestion.annotations.features import Features

_LARGEST_XML = 64 << 20


def dialect_of(document: Any) -> "Callable[[Any, Path, str], Features] | None":
    """What reads a JSON ``document`` of COCO or labelme; None where it is neither."""
    if not isinstance(document, Mapping):
        return None
    if isinstance(document.get("annotations"), list) and isinstance(document.get("categories"), list):
        return read_coco
    return read_labelme if isinstance(document.get("shapes"), list) else None


def read_coco(document: Any, path: Path, image: str) -> Features:
    """The annotations of one image of a COCO file: polygons, run lengths, else boxes.

    Args:
        document: the parsed file.
        path: of it, for messages.
        image: path of the image that is labelled; of several images the one whose name is its stem.

    Raises:
        InputError: the file has several images, and none of that name.
        FormatError: an annotation that cannot be used.
    """
    wanted = _coco_image(document, path, Path(image).stem)
    names = {one.get("id"): str(one.get("name")) for one in document["categories"]}
    own = [one for one in document["annotations"] if wanted is None or one.get("image_id") == wanted]
    with _meaning(path):
        shapes = [_coco_shape(one) for one in own]
    return _features(shapes, [names.get(one.get("category_id")) for one in own])


def _coco_image(document: Any, path: Path, stem: str) -> Any:
    images = [one for one in document.get("images") or () if isinstance(one, Mapping)]
    if len(images) < 2:
        return images[0].get("id") if images else None
    found = [one.get("id") for one in images if Path(str(one.get("file_name"))).stem == stem]
    if len(found) == 1:
        return found[0]
    some = ", ".join(str(one.get("file_name")) for one in images[:4])
    raise InputError(
        f"{path}: has annotations of {len(images)} images ({some}), of which {len(found)} are named "
        f"{stem}; name the Zarr store as its image is named there"
    )


def _coco_shape(one: Mapping[str, Any]) -> Any:
    told = one.get("segmentation")
    if isinstance(told, Mapping):
        return _of_runs(told)
    if told:
        return shapely.union_all([_polygon(np.reshape(ring, (-1, 2))) for ring in told])
    left, top, width, height = one["bbox"]
    return shapely.box(left, top, left + width, top + height)


def _of_runs(told: Mapping[str, Any]) -> Any:
    """Run lengths down the columns, off and on in turn, as one box for every run of a column."""
    height, width = (int(n) for n in told["size"])
    runs = told["counts"]
    ends = np.cumsum(_decoded(runs) if isinstance(runs, str) else runs)
    if len(ends) and ends[-1] != height * width:
        raise ValueError(f"run lengths end at {ends[-1]} of {height * width} pixels")
    boxes = []
    for start, stop in zip(ends[::2].tolist(), ends[1::2].tolist(), strict=False):
        for column in range(start // height, -(-stop // height)):
            top, bottom = max(start - column * height, 0), min(stop - column * height, height)
            boxes.append(shapely.box(column, top, column + 1, bottom))
    return shapely.union_all(boxes)


def _decoded(text: str) -> list[int]:
    """COCO's compressed counts: five bits a letter, each count less the one before the last."""
    counts: list[int] = []
    place = 0
    while place < len(text):
        value = shift = 0
        more = True
        while more:
            letter = ord(text[place]) - 48
            value |= (letter & 0x1F) << shift
            more, shift, place = bool(letter & 0x20), shift + 5, place + 1
            if not more and letter & 0x10:
                value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


def read_labelme(document: Any, path: Path, image: str) -> Features:
    """The shapes of a labelme file.

    Raises:
        FormatError: a shape that cannot be used.
    """
    del image
    with _meaning(path):
        shapes = [_labelme_shape(one) for one in document["shapes"]]
        return _features(shapes, [_text(one.get("label")) for one in document["shapes"]])


def _labelme_shape(one: Mapping[str, Any]) -> Any:
    points = np.reshape(np.asarray(one["points"], float), (-1, 2))
    match one.get("shape_type", "polygon"):
        case "rectangle":
            return shapely.box(*points.min(axis=0), *points.max(axis=0))
        case "circle":
            return shapely.Point(points[0]).buffer(float(np.hypot(*(points[1] - points[0]))))
        case "line" | "linestrip":
            return shapely.LineString(points)
        case "point" | "points":
            return shapely.MultiPoint(points)
        case "polygon" | None:
            return _polygon(points)
        case other:
            raise ValueError(f"shapes of type {other!r:.40} are not read")


def read_voc(path: Path) -> Features:
    """The boxes of a Pascal VOC file, whose pixels count from 1.

    Raises:
        FormatError: not VOC, or larger than such files are.
    """
    with _meaning(path):
        if path.stat().st_size > _LARGEST_XML:
            raise ValueError(f"larger than {_LARGEST_XML >> 20} MiB")
        text = path.read_bytes()
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise ValueError("has a document type of its own")
        found = ET.fromstring(text).iter("object")  # noqa: S314 - no entities: refused above
        shapes, names = [], []
        for one in found:
            left, top, right, bottom = (
                float(one.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            shapes.append(shapely.box(left - 1, top - 1, right, bottom))
            names.append(one.findtext("name"))
    if not shapes:
        raise FormatError(f"{path}: XML without objects of Pascal VOC; export the annotations as GeoJSON")
    return _features(shapes, names)


def _polygon(points: Any) -> Any:
    """A polygon; one that crosses itself is mended."""
    made = shapely.Polygon(points) if len(points) > 2 else shapely.Polygon()
    return made if made.is_valid else shapely.make_valid(made)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _features(shapes: Sequence[Any], names: Sequence[str | None]) -> Features:
    held = np.empty(len(shapes), object)
    held[:] = shapes
    known = np.empty(len(shapes), object)
    known[:] = names
    if not np.isfinite(shapely.get_coordinates(held)).all():
        raise ValueError("a coordinate is not finite")
    return Features(held, known, np.full((len(held), 2), -1, np.int64), None, in_pixels=True)


def _meaning(path: Path) -> AbstractContextManager[None]:
    """Whatever goes wrong over foreign values becomes a FormatError of one line."""
    return raised_as(
        FormatError,
        lambda error: f"{path}: an annotation cannot be used ({one_line(error, 120)}); mend or remove it",
    )
