"""GeoPackages and other vector files of GDAL, through pyogrio: whole, or the part within some bounds."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from unet_batch.errors import FormatError, InputError, MissingError, raised_as, text_of
from unet_batch.extras import require
from unet_batch.ingestion.annotations.features import PROPERTIES, Features, class_name

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class VectorLayer:
    """One layer of a file.

    Attributes:
        path: of the file.
        layer: its name.
        column: which names the class.
        crs: code or WKT; None where the layer has none.
        count: features in it.
    """

    path: Path
    layer: str
    column: str
    crs: str | None
    count: int

    @classmethod
    def open(cls, path: Path, layer: str | None, wanted: str | None) -> "VectorLayer":
        """The layer named, or the only one.

        Raises:
            MissingError, FormatError: no such file, or none that GDAL reads.
            InputError: several layers, none of the name, no column that names a class, or no pyogrio.
        """
        require("pyogrio", "geo", str(path))
        if not path.exists():
            raise MissingError(f"{path}: no such file; check the path of the annotations")
        import pyogrio  # noqa: PLC0415 - an optional package

        with _errors(path):
            layers = [str(name) for name, _ in pyogrio.list_layers(path)]
            chosen = _layer(path, layers, layer)
            info = pyogrio.read_info(path, layer=chosen, force_feature_count=True)
        column = _column(path, [str(name) for name in info["fields"]], wanted)
        return cls(path, chosen, column, info["crs"], int(info["features"]))

    def read(self, bounds: Bounds | None = None) -> Features:
        """The features that meet ``bounds`` (least and largest x and y, in the layer's CRS), or all."""
        from pyogrio import raw  # noqa: PLC0415 - an optional package

        with _errors(self.path):
            _, _, shapes, (values,) = raw.read(
                self.path, layer=self.layer, columns=[self.column], bbox=bounds, force_2d=True
            )
            geometries = np.asarray(shapely.from_wkb(shapes), object)
        geometries[shapely.is_missing(geometries)] = shapely.Polygon()
        names = np.array([class_name({self.column: _plain(v)}, self.column) for v in values], object)
        return Features(geometries, names, np.full((len(names), 2), -1, np.int64), self.crs)

    def names(self) -> NDArray[np.object_]:
        """The class of every feature, without its shape."""
        from pyogrio import raw  # noqa: PLC0415 - an optional package

        with _errors(self.path):
            _, _, _, (values,) = raw.read(
                self.path, layer=self.layer, columns=[self.column], read_geometry=False
            )
        return np.array([class_name({self.column: _plain(v)}, self.column) for v in values], object)


def _layer(path: Path, layers: list[str], wanted: str | None) -> str:
    if wanted in layers or (wanted is None and len(layers) == 1):
        return wanted or layers[0]
    raise InputError(f"{path}: choose one with `layer`, it has {', '.join(layers) or 'none'}")


def _column(path: Path, columns: list[str], wanted: str | None) -> str:
    found = next((name for name in ([wanted] if wanted else PROPERTIES) if name in columns), None)
    if found is None:
        looked = wanted or ", ".join(PROPERTIES)
        raise InputError(
            f"{path}: has no column {looked}; say with `property` which of {', '.join(columns) or 'none'} "
            f"names the class"
        )
    return found


def _plain(value: Any) -> Any:
    """A value of a column as Python has it; missing numbers are None."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value


def _errors(path: Path) -> AbstractContextManager[None]:
    """Whatever GDAL raises becomes a FormatError of one line."""
    return raised_as(
        FormatError,
        lambda error: f"{path}: cannot be read ({text_of(error, 160)}); give GeoJSON or GeoPackage",
    )
