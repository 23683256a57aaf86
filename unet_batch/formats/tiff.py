"""TIFF and what is built on it: BigTIFF, OME-TIFF, ImageJ, Aperio SVS, pyramids. No georeferencing."""

import logging
from math import prod
from pathlib import Path

import tifffile

from unet_batch.errors import FormatError, InputError
from unet_batch.formats.choices import others_note, pick_series
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.flat import FlatFile
from unet_batch.formats.reader import SAMPLES, ArrangedReader, Facts, StoredArray
from unet_batch.formats.segments import SegmentedTiff
from unet_batch.formats.tiff_facts import (
    channel_names,
    colour_notes,
    kind_of,
    nodata_of,
    palette_band,
    pixel_size_of,
)

# tifffile logs what it works around, several lines for one damaged file; what matters is raised.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False

_LETTERS = {"T": "t", "C": "c", "Z": "z", "Y": "y", "X": "x", "S": SAMPLES}


def open_tiff(path: Path, config: ReadConfig) -> ArrangedReader:
    """One series at one level of a TIFF.

    Raises:
        FormatError: damaged, or a layout that is not supported.
        InputError: a series, level, channel or axes that do not fit the file.
    """
    file = tifffile.TiffFile(path)
    try:
        return _open(path, file, config)  # the reader closes the file
    except BaseException:
        file.close()
        raise


def _open(path: Path, file: tifffile.TiffFile, config: ReadConfig) -> ArrangedReader:
    number, chosen = _pick_series(path, file, config)
    series = file.series[number]
    base, level = series, _pick_level(path, series, config)
    segmented = SegmentedTiff(path, level, config.cache_mb * 2**20)
    array, letters = _stored(path, level, segmented)
    axes, notes = _name_axes(path, letters, array.shape, config)
    found = pixel_size_of(file, base, number)
    factor = {a: n / m for a, n, m in zip("yx", _plane(base), _plane(level), strict=True)}
    facts = Facts(
        kind=kind_of(file, base),
        axes=axes,
        channel_names=channel_names(file, base, number, axes),
        pixel_size={a: s * factor.get(a, 1.0) for a, s in found.sizes.items()},
        unit=found.unit,
        nodata=nodata_of(level.keyframe),
        levels=len(base.levels),
        bands=palette_band(base),
        notes=chosen + notes + found.notes + colour_notes(base) + _cache_note(segmented, array, config),
        series=tuple(_series_of(file)) if len(file.series) > 1 else (),
    )
    if array is not segmented:
        segmented.close()
    return ArrangedReader(str(path), array, facts, config)


def _pick_series(path: Path, file: tifffile.TiffFile, config: ReadConfig) -> tuple[int, tuple[str, ...]]:
    """Number of the series to read, and a note on the others where nobody chose."""
    count = len(file.series)
    if count == 0:
        raise FormatError(f"{path}: holds no image that can be read; check how it was written")
    told = _series_of(file)
    number = pick_series(str(path), told, [prod(one.shape) for one in file.series], config.series)
    notes = others_note(told, number) if config.series is None else ()
    series = file.series[number]
    if 0 in series.get_shape(squeeze=False) or 0 in series.keyframe.shaped:
        raise FormatError(f"{path}: the image is empty (shape {series.shape}); give a file with pixels")
    return number, notes


def _series_of(file: tifffile.TiffFile) -> list[str]:
    return [" x ".join(map(str, one.shape)) for one in file.series]


def _pick_level(path: Path, series: tifffile.TiffPageSeries, config: ReadConfig) -> tifffile.TiffPageSeries:
    if config.level >= len(series.levels):
        raise InputError(
            f"{path}: has levels 0 to {len(series.levels) - 1}, no level {config.level}; mend `level`"
        )
    return series.levels[config.level]


def _stored(path: Path, series: tifffile.TiffPageSeries, segmented: SegmentedTiff) -> tuple[StoredArray, str]:
    """Uncompressed pixels in one run are read straight from the file, all else by strips or tiles."""
    offset = series.dataoffset
    if offset is None or series.transform is not None or series.is_multifile:
        segmented.require_small_segments()
        return segmented, segmented.axes
    order = series.keyframe.parent.byteorder
    dtype = series.dtype.newbyteorder(order)
    return FlatFile(path, offset, segmented.shape, dtype), segmented.axes


def _name_axes(
    path: Path, letters: str, shape: tuple[int, ...], config: ReadConfig
) -> tuple[str, tuple[str, ...]]:
    """Our letter for each stored axis: the caller's, the file's, or the first free of z t c with a note."""
    if config.axes is not None:
        if len(config.axes) != len(shape):
            raise InputError(
                f"{path}: has shape {shape}, but axes {config.axes!r} names {len(config.axes)}; name each"
            )
        return config.axes, ()
    named = [_LETTERS.get(letter) for letter in letters]
    notes = []
    for i, name in enumerate(named):
        if name is None or name in named[:i]:
            free = next((a for a in "ztc" if a not in named), None)
            if free is None:
                raise InputError(
                    f"{path}: cannot tell its axes {letters} {shape} apart; name them with `axes`"
                )
            named[i] = free
            notes.append(
                f"the axis of {shape[i]} planes has no name and is taken for {free}; `axes` says otherwise"
            )
    return "".join(name or "" for name in named), tuple(notes)


def _plane(series: tifffile.TiffPageSeries) -> tuple[int, int]:
    return series.keyframe.shaped[2], series.keyframe.shaped[3]


def _cache_note(segmented: SegmentedTiff, array: StoredArray, config: ReadConfig) -> tuple[str, ...]:
    """Says so where strips as wide as the image will be decoded once per block."""
    if array is not segmented or not segmented.spans_width:
        return ()
    need = segmented.bytes_across(config.rows)
    if need <= config.cache_mb * 2**20:
        return ()
    return (
        f"strips across a row of blocks take {need // 2**20} MB; `cache_mb` above that decodes them once",
    )
