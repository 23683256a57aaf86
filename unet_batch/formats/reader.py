"""Reader: the Protocol between foreign files and the verbs that read them. Knows no file format and no Zarr.

A format module gives a StoredArray (pixels in the file's own axis order) and its Facts; ArrangedReader
turns both into canonical order: channels first, then t z y x.

>>> from unet_batch.formats.opening import open_reader
>>> with open_reader("image.tif", ReadConfig()) as reader:
...     reader.axes, reader.shape, reader.channels, reader.read(Box((0, 0), (64, 32))).shape
('cyx', (150, 201), 3, (3, 64, 32))
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import FormatError, InputError
from unet_batch.formats.config import ReadConfig
from unet_batch.store.bands import Band
from unet_batch.store.georef import GeoReference
from unet_batch.store.nodata import Nodata, with_nan
from unet_batch.tiling.box import Box

PLACE_AXES = "tzyx"
OME_AXES = "tczyx"
SAMPLES = "s"
"""Second channel axis: samples of a pixel (RGB) beside a true channel axis."""


Valid = Callable[[Box], NDArray[np.bool_]]
"""Where a box of the file's own mask has data; thread-safe."""


class StoredArray(Protocol):
    """Pixels as the file keeps them, in the file's axis order."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents in stored order."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels, byte order as stored."""
        ...

    def read(self, box: Box) -> NDArray[Any]:
        """A fresh array of the pixels of a box inside ``shape``; thread-safe."""
        ...

    def close(self) -> None:
        """Release files."""
        ...


class Reader(Protocol):
    """One image of a foreign file, read box by box in canonical order: channels first, then t z y x.

    A new format implements this, most easily by giving its pixels and Facts to ArrangedReader, and takes a
    line in the table of `formats/catalogue.py`. tests/formats/reader_suite.py checks what is promised here.

    Attributes:
        kind: short name of the format, for people ("OME-TIFF").
        axes: letters of the image's axes, of t c z y x in this order; ``c`` is there where ``channels`` > 1.
        shape: extents in pixels of all axes but c, in the order of ``axes``; at least (y, x).
        dtype: of what ``read`` gives: real numbers of at most 64 bits in native byte order; bool is uint8.
        channels: number of channels after selection by the settings; at least 1.
        channel_names: one for each channel, or none at all.
        pixel_size: extent of a pixel by axis in ``unit``, at the level that is read; an axis of which the
            file says nothing is left out, never made up.
        unit: of ``pixel_size``, by the names of OME-Zarr ("micrometer"); None where it is not known.
        nodata: values of pixels without data, the setting's or the file's; NaN is among them in every image
            of floats. None where there is none.
        levels: levels of the file's own pyramid, the full resolution included; 1 without a pyramid.
        notes: how the file was understood where it leaves room for doubt, a line each, for people.
        georef: where the image lies on the earth; None where the file does not say.
        bands: name, scale, offset, unit and colour of each channel; none where the format has no such.
        valid: the file's own mask, where it has one: from a box to a bool array of the box's shape, true
            where there is data; thread-safe like ``read``.
        attributes: what else the file says, as plain values by topic (``slide``, ``volume``).
        series: names and shapes of the images among which the setting ``series`` chooses; empty for one.
    """

    kind: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    channels: int
    channel_names: tuple[str, ...]
    pixel_size: dict[str, float]
    unit: str | None
    nodata: Nodata
    levels: int
    notes: tuple[str, ...]
    georef: GeoReference | None
    bands: tuple[Band, ...]
    valid: Valid | None
    attributes: Mapping[str, Any]
    series: tuple[str, ...]

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of a box, from any thread.

        Args:
            box: a region inside ``shape``, at the level that was opened; it may cut strips and tiles.

        Returns:
            (channels, *box.shape) of ``dtype``: a fresh contiguous array that belongs to the caller.

        Raises:
            ValueError: a box that is not inside ``shape``.
            Exception: what the decoder raises over damaged bytes; ``foreign`` around the call makes it a
                FormatError of one line.
        """
        ...

    def close(self) -> None:
        """Release files; reading afterwards is an error."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *raised: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file says of itself beside its pixels.

    Args:
        kind: short name of the format.
        axes: letters of the stored axes, of t c z y x and s (samples of a pixel).
        levels: levels of the file's own pyramid.
        notes: what a person should know of how the file was understood.
        georef: where the image lies on the earth.
        bands: what the numbers of each stored channel mean.
        attributes: what else it says, by topic.
        series: the images among which a setting chooses.
    """

    kind: str
    axes: str
    channel_names: tuple[str, ...] = ()
    pixel_size: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    nodata: Nodata = None
    levels: int = 1
    notes: tuple[str, ...] = ()
    georef: GeoReference | None = None
    bands: tuple[Band, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    series: tuple[str, ...] = ()


class ArrangedReader:
    """A StoredArray in canonical order, with its channels selected. ``valid`` is the file's own mask.

    Raises:
        FormatError: no pixels, or pixels that are not real numbers of at most 64 bits.
        InputError: a channel that the file does not have.
    """

    def __init__(
        self,
        where: str,
        array: StoredArray,
        facts: Facts,
        config: ReadConfig | None = None,
        valid: Valid | None = None,
    ) -> None:
        _require_pixels(where, array)
        config = config or ReadConfig()
        self._array = array
        self._stored_axes = facts.axes
        extent = dict(zip(facts.axes, array.shape, strict=True))
        self.kind = facts.kind
        self.shape = tuple(extent[a] for a in PLACE_AXES if a in extent)
        self._place_axes = "".join(a for a in PLACE_AXES if a in extent)
        stored = prod(extent.get(a, 1) for a in ("c", SAMPLES))
        self._picked = _pick_channels(where, config.channels, stored)
        self.channels = len(self._picked)
        shown = extent.keys() | {"c"} if self.channels > 1 else extent.keys() - {"c"}
        self.axes = "".join(a for a in OME_AXES if a in shown)
        self.dtype = np.dtype(np.uint8) if array.dtype.kind == "b" else array.dtype.newbyteorder("=")
        names = facts.channel_names
        self.channel_names = tuple(names[c] for c in self._picked) if len(names) == stored else ()
        self.bands = tuple(facts.bands[c] for c in self._picked) if len(facts.bands) == stored else ()
        self.georef = facts.georef
        self.valid = valid
        self.pixel_size = {a: s for a, s in facts.pixel_size.items() if a in self._place_axes}
        self.unit = facts.unit if self.pixel_size else None
        given = facts.nodata if config.nodata is None else config.nodata
        self.nodata = with_nan(given, self.dtype)
        self.levels = facts.levels
        self.attributes, self.series = facts.attributes, facts.series
        self.notes = facts.notes + (("1-bit pixels are kept as 0 and 1",) if array.dtype.kind == "b" else ())

    def read(self, box: Box) -> NDArray[Any]:
        """(C, *box.shape), a fresh contiguous array in native byte order."""
        if not Box.of_shape(self.shape).contains(box):
            raise ValueError(f"{box} is not inside {self.shape}")
        region, picked = self._stored_box(box)
        data = self._array.read(region)
        order = [
            self._stored_axes.index(a) for a in ("c", SAMPLES, *self._place_axes) if a in self._stored_axes
        ]
        data = data.transpose(order).reshape(-1, *box.shape)
        chosen = data if picked is None else data[picked]
        return np.ascontiguousarray(chosen, dtype=self.dtype)

    def close(self) -> None:
        """Release files."""
        self._array.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _stored_box(self, box: Box) -> tuple[Box, list[int] | None]:
        """The box in stored axes, and which of the channels that it reads are wanted (None: all)."""
        spans = dict(zip(self._place_axes, zip(box.start, box.stop, strict=True), strict=True))
        extent = dict(zip(self._stored_axes, self._array.shape, strict=True))
        lowest = 0
        channel_axes = [a for a in ("c", SAMPLES) if a in extent]
        if len(channel_axes) == 1:
            lowest = min(self._picked)
            spans[channel_axes[0]] = (lowest, max(self._picked) + 1)
        spans = {a: spans.get(a, (0, extent[a])) for a in self._stored_axes}
        region = Box(tuple(s[0] for s in spans.values()), tuple(s[1] for s in spans.values()))
        picked = [c - lowest for c in self._picked]
        read = prod(spans[a][1] - spans[a][0] for a in channel_axes)
        return region, None if picked == list(range(read)) else picked


def _pick_channels(where: str, wanted: tuple[int, ...] | None, stored: int) -> tuple[int, ...]:
    if wanted is None:
        return tuple(range(stored))
    if max(wanted) >= stored:
        raise InputError(
            f"{where}: has channels 0 to {stored - 1}, no channel {max(wanted)}; mend `channels`"
        )
    return wanted


def _require_pixels(where: str, array: StoredArray) -> None:
    if prod(array.shape) == 0:
        raise FormatError(f"{where}: the image is empty (shape {array.shape}); give a file with pixels")
    if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        raise FormatError(
            f"{where}: pixels of type {array.dtype} cannot be used; convert them to integers or floats first"
        )
