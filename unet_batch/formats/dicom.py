"""DICOM: whole slides through OpenSlide, all else through SimpleITK; a series is one volume or is refused."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unet_batch.errors import FormatError, InputError
from unet_batch.extras import has
from unet_batch.formats.choices import pick_series
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.reader import ArrangedReader
from unet_batch.formats.volume import header_of, itk, open_volume, volume_reader

_MARK, _AT = b"DICM", 128
_SLIDE_CLASS = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.77\.1\.6(?![.\d])")
_HEAD = 4096
_POSITION, _TURN, _NAME = "0020|0032", "0020|0037", "0008|103e"
_UNEVEN = 0.02
"""Share of the spacing by which slices may lie off their places."""


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files that lie in a folder itself."""
    return [
        path for path in sorted(folder.iterdir()) if path.is_file() and _head(path)[_AT:].startswith(_MARK)
    ]


def open_dicom(path: Path, config: ReadConfig) -> ArrangedReader:
    """One file: a level of a slide with the others beside it, or an image.

    Raises:
        FormatError: damaged.
        InputError: settings that do not fit, or a library that is not installed.
    """
    if _SLIDE_CLASS.search(_head(path)):
        from unet_batch.formats.slide import open_slide  # noqa: PLC0415 - a decoder only when needed

        return open_slide(path, config)
    return open_volume(path, config)


def open_dicom_folder(folder: Path, config: ReadConfig) -> ArrangedReader:
    """The slide or the series of a folder.

    Raises:
        FormatError: a series that is no volume.
        InputError: several series, of which nobody chose.
    """
    first = dicom_files(folder)[0]
    if _SLIDE_CLASS.search(_head(first)) and has("openslide"):
        from unet_batch.formats.slide import open_slide  # noqa: PLC0415 - a decoder only when needed

        return open_slide(first, config)
    if config.level:
        raise InputError(f"{folder}: has no pyramid; leave `level` out")
    sitk = itk(f"{folder}: DICOM")
    groups = [
        sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in _series_ids(sitk, folder)
    ]
    if not groups:
        raise FormatError(f"{folder}: its DICOM files hold no images; give those of one series")
    told = tuple(f"{_name_of(sitk, names[0])}, {len(names)} files" for names in groups)
    if len(told) > 1 and config.series is None:
        listed = ", ".join(f"{n} ({one})" for n, one in enumerate(told))
        raise InputError(f"{folder}: holds {len(told)} series, {listed}; choose one with --series")
    number = pick_series(str(folder), told, [len(names) for names in groups], config.series)
    reader = _series(folder, groups[number], config)
    reader.series = told if len(told) > 1 else ()
    return reader


def _series_ids(sitk: Any, folder: Path) -> list[str]:
    return sorted(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)))


def _series(folder: Path, names: Sequence[str], config: ReadConfig) -> ArrangedReader:
    sitk = itk(f"{folder}: DICOM")
    if len(names) == 1:
        return open_volume(Path(names[0]), config.model_copy(update={"series": None}))
    notes = _check_slices(sitk, folder, names)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    image = reader.Execute()
    header = header_of(image, "DICOM", image.GetPixelIDValue(), image.GetNumberOfComponentsPerPixel())
    found = volume_reader(folder, lambda: image, header, config)
    found.notes += notes
    return found


def _check_slices(sitk: Any, folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Raise FormatError where the slices make no volume: sizes, orientations, gaps, a tilted gantry."""
    found = [_slice(sitk, name) for name in names]
    if len({size for size, _, _ in found}) > 1:
        raise FormatError(f"{folder}: its slices are of several sizes; give those of one series")
    turns = [turn for _, turn, _ in found]
    if any(
        turn is None or not np.allclose(turn, turns[0], atol=1e-3) for turn in turns if turns[0] is not None
    ):
        raise FormatError(f"{folder}: its slices are of several orientations; give those of one series")
    places = [place for _, _, place in found]
    if turns[0] is None or any(place is None for place in places):
        return ("its slices do not say where they lie; they are in the order of their numbers",)
    normal = np.cross(turns[0][:3], turns[0][3:])
    steps = np.diff(np.array(places, np.float64), axis=0)
    along = steps @ normal
    middle = float(np.median(along))
    if middle == 0 or np.abs(along - middle).max() > _UNEVEN * abs(middle):
        raise FormatError(
            f"{folder}: slices are missing or unevenly spaced ({along.min():.3g} to {along.max():.3g} mm "
            "apart); give a whole series"
        )
    if np.abs(steps - np.outer(along, normal)).max() > _UNEVEN * abs(middle):
        raise FormatError(f"{folder}: its slices are sheared (a tilted gantry); straighten the series first")
    return ()


def _slice(sitk: Any, name: str) -> tuple[tuple[int, ...], Any, Any]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(name)
    reader.ReadImageInformation()
    return tuple(reader.GetSize()[:2]), _numbers(reader, _TURN), _numbers(reader, _POSITION)


def _numbers(reader: Any, key: str) -> Any:
    if not reader.HasMetaDataKey(key):
        return None
    return np.array([float(part) for part in reader.GetMetaData(key).split("\\")])


def _name_of(sitk: Any, name: str) -> str:
    reader = sitk.ImageFileReader()
    reader.SetFileName(name)
    reader.ReadImageInformation()
    return str(reader.GetMetaData(_NAME)).strip() if reader.HasMetaDataKey(_NAME) else "unnamed"


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""
