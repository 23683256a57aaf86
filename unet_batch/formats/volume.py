"""Volumes of medicine through SimpleITK, with their place in the body: NIfTI, NRRD, MetaImage, DICOM.

A volume is held in memory, unless it is too large for that and its file lets parts be read.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from math import acos, degrees, prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import FormatError, InputError
from unet_batch.extras import require
from unet_batch.formats.choices import require_single
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.nifti import check_length
from unet_batch.formats.picture import WHOLE_FILE_LIMIT
from unet_batch.formats.reader import ArrangedReader, Facts
from unet_batch.tiling.box import Box

_AXES = {2: "yx", 3: "zyx", 4: "tzyx"}
_NAMES = {"NiftiImageIO": "NIfTI", "NrrdImageIO": "NRRD", "MetaImageIO": "MetaImage", "GDCMImageIO": "DICOM"}
_IN_PARTS = {"NiftiImageIO", "MetaImageIO"}
_INTEGERS = (f"{kind}{bits}" for kind in ("UInt", "Int") for bits in (8, 16, 32, 64))
_TYPES = (*_INTEGERS, "Float32", "Float64")
_STRAIGHT = 0.5  # degrees
_RAS = np.array([-1.0, -1.0, 1.0])  # from LPS, in which ITK counts


def itk(purpose: str) -> Any:
    """SimpleITK, silenced; an InputError says how to get it where it is not installed."""
    require("SimpleITK", "volumes", purpose)
    import SimpleITK  # noqa: PLC0415 - an optional package

    sitk: Any = SimpleITK
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    return sitk


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """What ITK raises, without where in its own sources it was."""
    try:
        yield
    except RuntimeError as error:
        said = [line for line in str(error).splitlines() if ":" in line][-1]
        reason = re.sub(r"^.*?(ITK ERROR: |Reason: )(\w+\(0x\w+\): )?", "", said)
        raise FormatError(
            f"{path}: cannot be decoded ({reason:.120}); it is damaged or cut short, copy it again"
        ) from error


@dataclass(frozen=True, slots=True)
class Header:
    """What a volume says of itself; extents, spacing and direction in ITK's order, x first."""

    kind: str
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    components: int
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Of the decoded pixels."""
        return prod(self.size) * self.components * self.dtype.itemsize


def open_volume(path: Path, config: ReadConfig) -> ArrangedReader:
    """The volume of one file.

    Raises:
        FormatError: damaged, sheared axes, or too large to be held where it cannot be read in parts.
        InputError: settings that do not fit, or no SimpleITK.
    """
    require_single(str(path), config)
    sitk = itk(f"{path}: a volume")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with told_plainly(path):
        reader.ReadImageInformation()
    io = sitk.ImageFileReader.GetImageIOFromFileName(str(path))
    header = header_of(reader, _NAMES.get(io, io), reader.GetPixelIDValue(), reader.GetNumberOfComponents())
    if io == "NiftiImageIO":
        check_length(path, header.bytes)
    if header.bytes > WHOLE_FILE_LIMIT and not config.canonical and config.like is None:
        if io in _IN_PARTS and not _packed(path):
            return arranged(path, PartsOfVolume(path, header), header, config)
        raise FormatError(
            f"{path}: {header.bytes >> 30} GiB of packed pixels; unpack it (such as with gunzip)"
        )
    return volume_reader(path, lambda: sitk.ReadImage(str(path)), header, config)


def header_of(told: Any, kind: str, pixel: int, components: int) -> Header:
    """From an ITK image or reader."""
    sitk = itk("a volume")
    return Header(
        kind,
        tuple(told.GetSize()),
        tuple(told.GetSpacing()),
        tuple(told.GetOrigin()),
        tuple(told.GetDirection()),
        components,
        _dtype(sitk, pixel),
    )


def _dtype(sitk: Any, pixel: int) -> np.dtype[Any]:
    for name in _TYPES:
        if pixel in {getattr(sitk, f"sitk{name}"), getattr(sitk, f"sitkVector{name}")}:
            return np.dtype(name.lower())
    raise FormatError(
        f"pixels of type {sitk.GetPixelIDValueAsString(pixel)} cannot be used; convert them first"
    )


def volume_reader(path: Path, load: Callable[[], Any], header: Header, config: ReadConfig) -> ArrangedReader:
    """A reader over the image that ``load`` gives, turned and resampled as settings say."""
    if config.canonical or config.like is not None:
        with told_plainly(path):
            image = _prepared(path, load(), config)
        header = header_of(image, header.kind, image.GetPixelIDValue(), header.components)
        return arranged(path, HeldVolume(path, lambda: image, header), header, config)
    return arranged(path, HeldVolume(path, load, header), header, config)


def arranged(
    path: Path, array: "HeldVolume | PartsOfVolume", header: Header, config: ReadConfig
) -> ArrangedReader:
    """In canonical order, with spacing and place."""
    axes = _AXES.get(len(header.size))
    if axes is None:
        raise FormatError(f"{path}: has {len(header.size)} dimensions; 2 to 4 are read")
    size = {a: s for a, s in zip(axes[::-1], header.spacing, strict=True) if a != "t" and s > 0}
    affine = affine_of(header)
    facts = Facts(
        kind=header.kind,
        axes=axes + ("c" if header.components > 1 else ""),
        pixel_size=size,
        unit="millimeter" if size else None,
        notes=_oblique_note(header),
        attributes={
            "volume": {"affine_ras_mm": affine.round(9).tolist(), "orientation": orientation(affine)}
        },
    )
    if config.axes not in {None, facts.axes}:
        raise InputError(f"{path}: its axes are {facts.axes}, not {config.axes}; leave `axes` out")
    return ArrangedReader(str(path), array, facts, config)


def affine_of(header: Header) -> NDArray[np.float64]:
    """From indices (x, y, z) to millimetres (right, anterior, superior), as NIfTI and nibabel have it."""
    dims = len(header.size)
    turn = np.array(header.direction).reshape(dims, dims)
    space = min(dims, 3)
    affine = np.eye(4)
    affine[:space, :space] = turn[:space, :space] * np.array(header.spacing[:space])
    affine[:space, 3] = header.origin[:space]
    affine[:3] *= _RAS[:, None]
    return affine


def orientation(affine: NDArray[np.float64]) -> str:
    """Where each axis (x, y, z) runs, nearest: RAS, LPS, ..."""
    letters = ("LR", "PA", "IS")
    steps = affine[:3, :3] / np.maximum(np.linalg.norm(affine[:3, :3], axis=0), 1e-12)
    rows = [int(np.abs(step).argmax()) for step in steps.T]
    return "".join(letters[row][int(step[row] > 0)] for row, step in zip(rows, steps.T, strict=True))


def tilt(header: Header) -> float:
    """Degrees between an axis of the volume and the nearest of the body, at most."""
    dims = len(header.size)
    turn = np.abs(np.array(header.direction).reshape(dims, dims)[: min(dims, 3), : min(dims, 3)])
    return max(degrees(acos(min(1.0, float(column.max())))) for column in turn.T)


def _oblique_note(header: Header) -> tuple[str, ...]:
    turned = tilt(header)
    if turned <= _STRAIGHT:
        return ()
    return (f"its axes are up to {turned:.1f} degrees off those of the body; pixels are as stored",)


def _prepared(path: Path, image: Any, config: ReadConfig) -> Any:
    sitk = itk(str(path))
    if config.like is not None:
        if not Path(config.like).is_file():
            raise InputError(f"like: {config.like} is no file; name a volume")
        return sitk.Resample(image, sitk.ReadImage(config.like), sitk.Transform(), sitk.sitkLinear, 0.0)
    header = header_of(image, "", image.GetPixelIDValue(), 1)
    if tilt(header) > _STRAIGHT:
        raise InputError(
            f"{path}: its axes are {tilt(header):.1f} degrees off those of the body, so no order of them is "
            "canonical; leave `canonical` out, or give a straight volume with `like`"
        )
    return sitk.DICOMOrient(image, "RAS") if image.GetDimension() == 3 else image


def _packed(path: Path) -> bool:
    if path.suffix == ".gz":
        return True
    head = path.open("rb").read(4096)
    return b"CompressedData = True" in head


@dataclass
class HeldVolume:
    """A StoredArray that is read whole when it is first needed."""

    path: Path
    load: Callable[[], Any]
    header: Header
    _lock: Any = field(default_factory=Lock)

    @property
    def shape(self) -> tuple[int, ...]:
        """(t, z, y, x, c), those that there are."""
        return _shape(self.header)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels after rescaling."""
        return self.header.dtype

    def read(self, box: Box) -> NDArray[Any]:
        """A copy of the box's pixels."""
        with self._lock:
            pixels = self._pixels
        return np.array(pixels[box.slices])

    def close(self) -> None:
        """Let go of the pixels."""
        self.__dict__.pop("_pixels", None)

    @cached_property
    def _pixels(self) -> NDArray[Any]:
        with told_plainly(self.path):
            return np.asarray(itk("a volume").GetArrayFromImage(self.load()))


class PartsOfVolume:
    """A StoredArray of a file that is read box by box."""

    def __init__(self, path: Path, header: Header) -> None:
        self._path, self._header = path, header
        self.shape, self.dtype = _shape(header), header.dtype

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of the box."""
        sitk = itk(str(self._path))
        dims = len(self._header.size)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(self._path))
        reader.SetExtractIndex(box.start[:dims][::-1])
        reader.SetExtractSize(box.shape[:dims][::-1])
        with told_plainly(self._path):
            pixels = np.asarray(sitk.GetArrayFromImage(reader.Execute()))
        return pixels[..., box.start[-1] : box.stop[-1]] if box.ndim > dims else pixels

    def close(self) -> None:
        """Nothing stays open between reads."""


def _shape(header: Header) -> tuple[int, ...]:
    return header.size[::-1] + ((header.components,) if header.components > 1 else ())
