"""Pixels of a scene on the mosaic's grid: copied where it lies on it, else warped by GDAL.

Files stay open between blocks, a set for each thread, the least recently used closed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import DamageError, FormatError, MissingError
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import foreign, open_reader
from unet_batch.formats.projection import crs_of, rasterio_for
from unet_batch.formats.raster import OpenFiles, open_raster, raster_errors, read_bands, read_mask
from unet_batch.ingestion.mosaic.plan import MosaicPlan
from unet_batch.ingestion.mosaic.scene import Scene
from unet_batch.store.nodata import is_missing, with_nan
from unet_batch.tiling.box import Box

Pixels = NDArray[Any]
Valid = NDArray[np.bool_]

_OPEN_FIELDS = 64


class SceneDamage(DamageError):  # noqa: N818 - an error by its base
    """A scene that cannot be read where a block needs it."""

    def __init__(self, message: str, scene: str) -> None:
        super().__init__(message)
        self.scene = scene

    def __reduce__(self) -> tuple[Any, ...]:
        return SceneDamage, (str(self), self.scene)


class SceneReader(Protocol):
    """Reads any scene of a plan; thread-safe."""

    def read(self, scene: Scene, box: Box) -> tuple[Pixels, Valid]:
        """Pixels and which of them are data, both (C, *box.shape); the last two axes of ``box`` lie in the
        scene's own.

        Raises:
            SceneDamage: the scene cannot be read there.
        """


def reader_of(plan: MosaicPlan) -> SceneReader:
    """The reader for the plan's kind of scenes."""
    return GeoScenes(plan) if plan.kind == "geo" else StageFields(plan)


@dataclass(frozen=True, slots=True)
class GeoScenes:
    """Scenes on the earth, through GDAL."""

    plan: MosaicPlan
    files: OpenFiles = field(default_factory=OpenFiles)

    def read(self, scene: Scene, box: Box) -> tuple[Pixels, Valid]:
        """As the Protocol says."""
        with _named_damage(scene), raster_errors(scene.path):
            pixels, mask = self._copied(scene, box) if scene.copied else self._warped(scene, box)
        return pixels, _valid(pixels, mask, scene.nodata, self.plan.merge.collar)

    def _copied(self, scene: Scene, box: Box) -> tuple[Pixels, Valid | None]:
        dataset = self.files.get(scene.path, lambda: _open(scene))
        own = box.relative_to(scene.box.start)
        pixels = read_bands(dataset, own, list(self.plan.read))
        return pixels, read_mask(dataset, own) if scene.masked else None

    def _warped(self, scene: Scene, box: Box) -> tuple[Pixels, Valid]:
        warped = self.files.get(scene.path, lambda: _Warped(scene, self.plan))
        # GDAL's alpha is the last band, after those of the scene (whose own alpha it takes the place of).
        alpha = warped.dataset.count - 1
        pixels = read_bands(warped.dataset, box, [*self.plan.read, alpha])
        return pixels[:-1], pixels[-1] > 0


class _Warped:
    """A scene on the mosaic's grid, as a file that GDAL makes up; and the scene's own file below it."""

    def __init__(self, scene: Scene, plan: MosaicPlan) -> None:
        rasterio = rasterio_for("warping")
        from rasterio.vrt import WarpedVRT  # noqa: PLC0415 - an optional package

        assert plan.georef is not None, "scenes on the earth have a place"
        self.source = _open(scene)
        # GDAL warps in pieces of its own, counted from the mosaic's origin: pixels do not depend on blocks.
        self.dataset = WarpedVRT(
            self.source,
            src_crs=crs_of(scene.crs, scene.path) if scene.crs else None,
            crs=crs_of(plan.georef.crs, "mosaic"),
            transform=rasterio.Affine(*plan.georef.transform),
            height=plan.shape[-2],
            width=plan.shape[-1],
            resampling=rasterio.enums.Resampling[plan.merge.resampling],
            src_nodata=scene.nodata if scene.nodata is not None else plan.merge.collar,
            nodata=None,
            add_alpha=not _has_alpha(self.source),
        )

    def close(self) -> None:
        """Close both."""
        self.dataset.close()
        self.source.close()


class StageFields:
    """Fields of a stage scan, through the readers of microscopy files."""

    def __init__(self, plan: MosaicPlan) -> None:
        self.plan = plan
        self.files = OpenFiles(_OPEN_FIELDS)

    def read(self, scene: Scene, box: Box) -> tuple[Pixels, Valid]:
        """As the Protocol says."""
        config = ReadConfig(georeference=False, series=scene.series, channels=self.plan.read)
        outer = box.ndim - 2
        own = box.relative_to((0,) * outer + scene.box.start)
        with _named_damage(scene):
            reader = self.files.get(f"{scene.series} {scene.path}", lambda: open_reader(scene.path, config))
            with foreign(scene.path):
                pixels = reader.read(own)
        return pixels, _valid(pixels, None, scene.nodata, self.plan.merge.collar)


def _open(scene: Scene) -> Any:
    """The raster of a scene, whose names of other files the survey has looked at."""
    return open_raster(scene.path, remote=True)


def _valid(pixels: Pixels, mask: Valid | None, nodata: float | None, collar: float | None) -> Valid:
    """Which pixels are data: by the scene's mask, by its value without data, by a collar in every band."""
    valid: Valid = ~is_missing(pixels, with_nan(nodata, pixels.dtype))
    if collar is not None:
        valid = valid & (pixels != collar).any(axis=0)
    return valid if mask is None else valid & mask


def _has_alpha(dataset: Any) -> bool:
    return any(colour.name == "alpha" for colour in dataset.colorinterp)


@contextmanager
def _named_damage(scene: Scene) -> Iterator[None]:
    try:
        yield
    except (FormatError, MissingError) as error:
        raise SceneDamage(str(error), scene.path) from error
