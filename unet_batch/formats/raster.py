"""Rasters through rasterio: opened, described, read with their masks. Local paths, s3://, https:// and /vsi.

Knows no target grid and no Zarr.
"""

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import FormatError, InputError, MissingError, one_line, raised_as
from unet_batch.formats.photometry import colour_notes, colour_table
from unet_batch.formats.projection import crs_of, crs_text, map_unit, rasterio_for
from unet_batch.formats.remote import DRIVERS, refuse_distant_names, refuse_name
from unet_batch.store.bands import Band
from unet_batch.store.georef import GeoReference
from unet_batch.store.nodata import nodata_of, values_of
from unet_batch.tiling.box import Box

if TYPE_CHECKING:
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader

_OPEN_FILES = 64
# What drivers do not support well enough to guess: GDAL's complex types.
_KINDS = "uif"


@dataclass(frozen=True, slots=True)
class RasterFacts:
    """What a raster says of itself.

    Attributes:
        path: as it was given.
        shape: rows and columns.
        dtype: of all bands.
        bands: all of them, alpha included.
        crs: code or WKT2; None where it has none.
        transform: rasterio's six numbers; None where it has none.
        nodata: value without data of the first band that has one, where the type can hold it.
        other_nodata: those of other bands, where they differ.
        alpha: number of the alpha band, from 0.
        masked: whether it has a mask beside its pixels (.msk or inside), or an alpha band.
        unit: of the map, by OME's names; None for degrees and others.
        levels: overviews and the full resolution.
        notes: how its colours are stored.
    """

    path: str
    shape: tuple[int, int]
    dtype: str
    bands: tuple[Band, ...]
    crs: str | None
    transform: tuple[float, float, float, float, float, float] | None
    nodata: float | None
    other_nodata: tuple[float, ...]
    alpha: int | None
    masked: bool
    unit: str | None
    levels: int
    notes: tuple[str, ...] = ()

    @property
    def georef(self) -> GeoReference | None:
        """Where it lies; None without a CRS."""
        if self.crs is None or self.transform is None:
            return None
        return GeoReference(self.crs, self.transform)


def is_remote(path: str | Path) -> bool:
    """Whether GDAL, not the file system, finds ``path``."""
    return "://" in str(path) or str(path).startswith("/vsi")


@contextmanager
def opened(path: str, level: int = 0, *, remote: bool = False) -> Iterator["DatasetReader"]:
    """The raster at ``path`` at one of its overviews, closed at the end.

    Raises:
        MissingError: no such file.
        FormatError: nothing that GDAL reads.
        InputError: no such level, no rasterio, or a local file that names something on the network, unless
            ``remote`` allows it.
    """
    dataset = open_raster(path, level, remote=remote)
    try:
        yield dataset
    finally:
        dataset.close()


def open_raster(path: str, level: int = 0, *, remote: bool = False) -> "DatasetReader":
    """As ``opened``, for a caller that closes it."""
    opening = _opener(path)
    place = path if is_remote(path) else str(Path(path).absolute())  # no prefix of GDAL's begins it
    if not is_remote(path):
        if not Path(path).exists():
            raise MissingError(f"{path}: no such file; check the path")
        if not remote:
            refuse_distant_names(Path(path))
    with raster_errors(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a raster without a transform is told of in other ways
        whole = opening(place, driver=list(DRIVERS))
        if not (remote or is_remote(path)):
            _refuse_distant_overviews(path, whole)
        if not level:
            return whole
        with whole:
            count = len(whole.overviews(1))
        if level > count:
            raise InputError(f"{path}: has levels 0 to {count}, no level {level}; mend `level`")
        return opening(place, driver=list(DRIVERS), overview_level=level - 1)


def _opener(path: str) -> "Callable[..., DatasetReader]":
    # rasterio.open takes one driver alone; this is what it calls, with the caller's keys to s3://.
    rasterio_for(path)
    from rasterio.env import ensure_env_with_credentials  # noqa: PLC0415 - an optional package
    from rasterio.io import DatasetReader  # noqa: PLC0415

    opening: Callable[..., DatasetReader] = ensure_env_with_credentials(DatasetReader)
    return opening


def _refuse_distant_overviews(path: str, dataset: "DatasetReader") -> None:
    refuse_name(dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE", ""), path)


def raster_errors(path: str) -> AbstractContextManager[None]:
    """Whatever rasterio or GDAL raises becomes a FormatError of one line."""

    def tell(error: Exception) -> str:
        reason = one_line(error.__cause__ or error)  # rasterio wraps what GDAL says
        cure = "convert it with `gdal_translate`"
        return f"{path}: cannot be read ({reason}); it is damaged, or of a format that is not read; {cure}"

    return raised_as(FormatError, tell)


def facts_of(path: str, dataset: "DatasetReader") -> RasterFacts:
    """What an open raster says of itself.

    Raises:
        FormatError: pixels that are no real numbers, bands of several types, or no position but ground
            control points.
    """
    dtype = _dtype(path, dataset)
    _refuse_unrectified(path, dataset)
    masks = {flag.name for flags in dataset.mask_flag_enums for flag in flags}
    bands = _bands(dataset)
    alpha = _alpha(dataset)
    overviews = len(dataset.overviews(1))
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    crs = dataset.crs or _crs_beside(path)
    nodata = values_of(nodata_of(_nodata(dataset, dtype)))
    return RasterFacts(
        path=path,
        shape=(dataset.height, dataset.width),
        dtype=dtype.name,
        bands=bands,
        crs=crs_text(crs) if crs else None,
        transform=None if dataset.transform.is_identity else (a, b, c, d, e, f),
        nodata=nodata[0] if nodata else None,
        other_nodata=nodata[1:],
        alpha=alpha,
        masked=alpha is not None or ("per_dataset" in masks and "nodata" not in masks),
        unit=map_unit(crs),
        levels=1 + overviews,
        notes=colour_notes(dataset),
    )


def _crs_beside(path: str) -> "CRS | None":
    """The CRS of the .prj file beside a raster, which GDAL leaves aside."""
    if is_remote(path):
        return None
    for suffix in (".prj", ".PRJ"):
        file = Path(path).with_suffix(suffix)
        if file.is_file():
            return crs_of(file.read_text("utf-8", errors="replace").strip(), str(file))
    return None


def read_bands(dataset: "DatasetReader", box: Box, bands: list[int]) -> NDArray[Any]:
    """(len(bands), *box.shape) of ``bands``, from 0; ``box`` has rows and columns inside the raster."""
    numbers = [band + 1 for band in bands]
    return np.asarray(dataset.read(numbers, window=_window(box)))


def read_mask(dataset: "DatasetReader", box: Box) -> NDArray[np.bool_]:
    """Where the raster's mask or alpha band says that there is data: (*box.shape)."""
    alpha = _alpha(dataset)
    if alpha is not None and dataset.nodata is not None:  # for which rasterio would leave it aside
        return np.asarray(dataset.read(alpha + 1, window=_window(box)) != 0)
    return np.asarray(dataset.dataset_mask(window=_window(box)) != 0)


class OpenFiles:
    """Open datasets, a set for each thread, as GDAL has it; the least recently used is closed."""

    def __init__(self, most: int = _OPEN_FILES) -> None:
        self._most = most
        self._threads = threading.local()
        self._all: list[OrderedDict[str, Any]] = []

    def get(self, key: str, opening: Callable[[], Any]) -> Any:
        """The dataset of ``key`` in this thread, from ``opening`` where there is none."""
        kept: OrderedDict[str, Any] | None = getattr(self._threads, "kept", None)
        if kept is None:
            kept = self._threads.kept = OrderedDict()
            self._all.append(kept)
        if key not in kept:
            kept[key] = opening()
        kept.move_to_end(key)
        while len(kept) > self._most:
            kept.popitem(last=False)[1].close()
        return kept[key]

    def close(self) -> None:
        """Close all, those of other threads too."""
        for kept in self._all:
            while kept:
                kept.popitem()[1].close()


def _window(box: Box) -> tuple[tuple[int, int], ...]:
    return tuple(zip(box.start, box.stop, strict=True))


def _alpha(dataset: "DatasetReader") -> int | None:
    """Number of the alpha band, from 0."""
    colours = [colour.name for colour in dataset.colorinterp]
    return colours.index("alpha") if "alpha" in colours else None


def _dtype(path: str, dataset: "DatasetReader") -> np.dtype[Any]:
    if dataset.count == 0:
        raise FormatError(f"{path}: holds no bands itself; name one of its subdatasets")
    names = set(dataset.dtypes)
    if len(names) > 1:
        raise FormatError(f"{path}: its bands have types {sorted(names)}; convert them to one first")
    name = names.pop()
    if name.startswith("complex") or np.dtype(name).kind not in _KINDS:
        raise FormatError(f"{path}: pixels of type {name} cannot be used; convert them to integers or floats")
    dtype: np.dtype[Any] = np.dtype(name)
    return dtype


def _refuse_unrectified(path: str, dataset: "DatasetReader") -> None:
    points, _ = dataset.gcps
    if points and dataset.transform.is_identity:
        raise FormatError(
            f"{path}: has {len(points)} ground control points and no transform; rectify it first with "
            f"`gdalwarp`, or leave its position out with `georeference: false`"
        )


def _bands(dataset: "DatasetReader") -> tuple[Band, ...]:
    colours = [c.name.removeprefix("Cband_") for c in dataset.colorinterp]
    return tuple(
        Band(
            name or (colour if colour not in {"undefined", "gray", "palette"} else f"band {number}"),
            float(scale),
            float(offset),
            unit,
            None if colour == "undefined" else colour,
            colour_table(dataset.colormap(number)) if colour == "palette" else (),
        )
        for number, (name, scale, offset, unit, colour) in enumerate(
            zip(
                dataset.descriptions,
                dataset.scales,
                dataset.offsets,
                dataset.units,
                colours,
                strict=True,
            ),
            start=1,
        )
    )


def _nodata(dataset: "DatasetReader", dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Values without data of all bands, those that the type can hold."""
    told = [value for value in dataset.nodatavals if value is not None]
    if dtype.kind == "f":
        return tuple(float(value) for value in told)
    limits = np.iinfo(dtype)
    return tuple(
        int(value) for value in told if float(value).is_integer() and limits.min <= value <= limits.max
    )
