"""Zeiss CZI through libCZI: mosaics put together, scenes as series, planes by t, c and z."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import FormatError, InputError
from unet_batch.extras import require
from unet_batch.formats.choices import others_note, pick_series
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.raster import OpenFiles
from unet_batch.formats.reader import SAMPLES, ArrangedReader, Facts
from unet_batch.store.units import in_micrometres
from unet_batch.tiling.box import Box

_TYPES = {
    "Gray8": ("uint8", 1),
    "Gray16": ("uint16", 1),
    "Gray32Float": ("float32", 1),
    "Bgr24": ("uint8", 3),
    "Bgr48": ("uint16", 3),
    "Bgr96Float": ("float32", 3),
}
_COLOURS = ("red", "green", "blue")


def open_czi(path: Path, config: ReadConfig) -> ArrangedReader:
    """A scene of a CZI, or all of it where there are no scenes.

    Raises:
        FormatError: damaged, or channels of several types.
        InputError: settings that do not fit, or no library.
    """
    require("pylibCZIrw", "microscopes", f"{path}: CZI")
    from pylibCZIrw.czi import CziReader  # noqa: PLC0415 - an optional package

    if config.level:
        raise InputError(f"{path}: its pyramid is not read; leave `level` out")
    with closing(CziReader(str(path))) as file:
        places = _places(file)
        told = [f"{name}, {y} x {x}" for name, (_, _, x, y) in places]
        number = pick_series(str(path), told, [x * y for _, (_, _, x, y) in places], config.series)
        extents = {axis: file.total_bounding_box.get(axis, (0, 1)) for axis in "TCZ"}
        array = _Scene(path, places[number][1], extents, _pixels(path, file), _scene_of(file, number))
        facts = _facts(file.metadata, array, file.total_bounding_box)
    series = tuple(told) if len(told) > 1 else ()
    notes = others_note(told, number) if config.series is None else ()
    facts = replace(facts, series=series, notes=notes + facts.notes)
    return ArrangedReader(str(path), array, facts, config)


def _places(file: Any) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Name and (x, y, width, height) of each scene."""
    scenes = file.scenes_bounding_rectangle
    if scenes:
        return [(f"scene {n}", (r.x, r.y, r.w, r.h)) for n, r in sorted(scenes.items())]
    whole = file.total_bounding_rectangle
    return [("image", (whole.x, whole.y, whole.w, whole.h))]


def _scene_of(file: Any, number: int) -> int | None:
    scenes = sorted(file.scenes_bounding_rectangle)
    return scenes[number] if scenes else None


def _pixels(path: Path, file: Any) -> tuple[str, int]:
    kinds = set(file.pixel_types.values())
    if len(kinds) > 1 or not kinds <= set(_TYPES):
        raise FormatError(
            f"{path}: its channels are of types {', '.join(sorted(kinds))}; export them as one with ZEN"
        )
    return _TYPES[kinds.pop()]


def _facts(metadata: Any, array: "_Scene", box: Mapping[str, tuple[int, int]]) -> Facts:
    said = metadata.get("ImageDocument", {}).get("Metadata", {}) or {}
    size = in_micrometres(_scaling(said))
    left = [axis for axis, (low, high) in box.items() if axis not in "TCZXY" and high - low > 1]
    notes = (f"of its axes {', '.join(left)} the first position is read",) if left else ()
    return Facts(
        kind="Zeiss CZI",
        axes=array.axes,
        channel_names=_COLOURS if array.axes == f"yx{SAMPLES}" else _channel_names(said, array),
        pixel_size=size.sizes,
        unit=size.unit,
        notes=size.notes + notes,
    )


def _scaling(said: Mapping[str, Any]) -> dict[str, tuple[float, str | None]]:
    items = ((said.get("Scaling") or {}).get("Items") or {}).get("Distance") or []
    found: dict[str, tuple[float, str | None]] = {}
    for item in items if isinstance(items, list) else [items]:
        axis, value = str(item.get("@Id", "")).lower(), item.get("Value")
        if axis in {"z", "y", "x"} and value:
            found[axis] = float(value), "m"
    return found


def _channel_names(said: Mapping[str, Any], array: "_Scene") -> tuple[str, ...]:
    image = (said.get("Information") or {}).get("Image") or {}
    listed = ((image.get("Dimensions") or {}).get("Channels") or {}).get("Channel") or []
    listed = listed if isinstance(listed, list) else [listed]
    names = tuple(str(one.get("@Name") or one.get("@Id") or "") for one in listed)
    return names if array.samples == 1 else ()


class _Scene:
    """A StoredArray (t, c, z, y, x, s): t, c, z where they have more than one position, s of colour."""

    def __init__(
        self,
        path: Path,
        place: tuple[int, int, int, int],
        extents: Mapping[str, tuple[int, int]],
        pixels: tuple[str, int],
        scene: int | None,
    ) -> None:
        self._path, self._place, self._scene = path, place, scene
        self._outer = {axis: span for axis, span in extents.items() if span[1] - span[0] > 1}
        self._first = {axis: span[0] for axis, span in extents.items()}
        self.samples = pixels[1]
        colour = (self.samples,) if self.samples > 1 else ()
        self.shape = (*(b - a for a, b in self._outer.values()), place[3], place[2], *colour)
        self.axes = "".join(self._outer).lower() + "yx" + (SAMPLES if colour else "")
        self.dtype = np.dtype(pixels[0])
        self._files = OpenFiles()

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of the box."""
        count = len(self._outer)
        outer = Box(box.start[:count], box.stop[:count])
        inner = Box(box.start[count:], box.stop[count:])
        planes = [self._plane(position, inner) for position in outer.positions()]
        return np.stack(planes).reshape(box.shape)

    def close(self) -> None:
        """Close what all threads opened."""
        self._files.close()

    def _plane(self, position: tuple[int, ...], inner: Box) -> NDArray[Any]:
        from pylibCZIrw.czi import CziReader  # noqa: PLC0415 - an optional package

        file = self._files.get(str(self._path), lambda: CziReader(str(self._path)))
        x, y, *_ = self._place
        (top, left), (height, width) = inner.start[:2], inner.shape[:2]
        where = {axis: self._outer[axis][0] + p for axis, p in zip(self._outer, position, strict=True)}
        pixels = file.read(
            roi=(x + left, y + top, width, height), plane=self._first | where, scene=self._scene
        )
        if self.samples == 1:
            return np.asarray(pixels[..., 0])
        return np.asarray(pixels[..., ::-1][..., inner.start[2] : inner.stop[2]])
