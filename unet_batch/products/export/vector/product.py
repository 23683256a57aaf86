"""Polygons as products: GeoJSON, GeoParquet or GeoPackage, of the same traced blocks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Literal

from unet_batch.engine.passes import BlockPass, without_files
from unet_batch.errors import InputError
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.measure import LONGITUDE_LATITUDE, Measure, Place
from unet_batch.products.export.product import Count, Joined
from unet_batch.products.export.vector.block import (
    FOLDER,
    PolygonsWork,
    Tracing,
    features_path,
    fragments_path,
)
from unet_batch.products.export.vector.fragments import Fragments
from unet_batch.products.export.vector.geojson import GeoJson
from unet_batch.products.export.vector.objects import ObjectTable
from unet_batch.products.export.vector.sink import Legend, Sink
from unet_batch.products.export.vector.stitch import stitched
from unet_batch.products.export.vector.tables import ArrowPieces, GeoPackage, GeoParquet
from unet_batch.products.export.vector.trace import OTHER, Selection
from unet_batch.products.export.view import View
from unet_batch.products.sources import image_beside, level_of, resample_of
from unet_batch.store.origin import not_given
from unet_batch.tiling import BlockGrid


@dataclass(frozen=True, slots=True)
class Polygons:
    """The polygons of a view, traced as settings say, for a sink."""

    view: View
    config: ExportConfig
    selections: tuple[Selection, ...]
    measure: Measure
    sink: Sink

    @classmethod
    def of(cls, kind: Literal["geojson", "parquet", "gpkg"], view: View, config: ExportConfig) -> "Polygons":
        """Polygons of the classes that the settings ask for.

        Raises:
            InputError: masks without classes, classes that they do not have, or a missing library.
        """
        if view.masks.layout.kind == "regression":
            raise InputError(f"{view.masks.path}: holds values, not classes; polygons need masks of classes")
        measure = Measure.of(view)
        return cls(view, config, _selections(view, config), measure, _sink(kind, view, config, measure))

    @property
    def grid(self) -> BlockGrid:
        """The blocks; axes selection, y, x."""
        block = (1, self.config.block, self.config.block)
        shape = (len(self.selections), *self.view.shape)
        return BlockGrid(shape, block)

    def passes(self, folder: Path) -> list[BlockPass]:
        """One pass."""
        tracing = Tracing(self.view.shape[1], self.config.connectivity, self.config.tolerance)
        work = PolygonsWork(self.view, self.grid, self.selections, tracing, self.measure, self.sink, folder)
        lost = without_files(work.files, self.grid)
        return [BlockPass(folder / FOLDER, self.grid, lambda _: work, lost=lost)]

    def join(self, folder: Path, target: Path, count: Count) -> Joined:
        """Finished features of all blocks, then those stitched together."""
        return Joined(self.sink.join(target, self._counted(folder, count)))

    def _counted(self, folder: Path, count: Count) -> Iterator[bytes]:
        """The pieces: one of each block, and at most one of each row of blocks."""
        total = len(self.grid) + prod(self.grid.counts[:2])
        for number, piece in enumerate(self._pieces(folder)):
            yield piece
            count(number + 1, total)
        count(total, total)

    def _pieces(self, folder: Path) -> Iterator[bytes]:
        for number in range(len(self.grid)):
            yield features_path(folder, number).read_bytes()
        channels, rows, columns = self.grid.counts
        for channel in range(channels):

            @lru_cache(maxsize=2 * columns + 2)
            def load(number: int, first: int = channel * rows * columns) -> Fragments:
                return Fragments.load(fragments_path(folder, first + number))

            for features in stitched(load, (rows, columns), self.config.connectivity):
                yield self.sink.encode(features)


def _selections(view: View, config: ExportConfig) -> tuple[Selection, ...]:
    if view.masks.layout.kind == "instances":
        return (Selection(0, None),)
    names = view.masks.layout.names
    wanted = _wanted(view, config)
    if view.masks.layout.kind == "multiclass":
        return (Selection(0, tuple(i if i in wanted else OTHER for i in range(len(names)))),)
    return tuple(Selection(channel, (OTHER, channel)) for channel in wanted)


def _wanted(view: View, config: ExportConfig) -> list[int]:
    names = view.masks.layout.names
    if config.classes is None:
        return [i for i, name in enumerate(names) if name.lower() != "background"]
    known: dict[int | str, int] = {name: i for i, name in enumerate(names)}
    known.update({i: i for i in range(len(names))})
    for one in config.classes:
        if one not in known:
            raise InputError(f"{view.masks.path}: has no class {one!r}; choose among {', '.join(names)}")
    return sorted({known[one] for one in config.classes})


def _sink(kind: str, view: View, config: ExportConfig, measure: Measure) -> Sink:
    of_objects = view.masks.layout.kind == "instances"
    legend = Legend(
        names=view.masks.layout.names,
        colours=view.colours,
        measure=measure,
        place=Place.of(view.georef),
        min_area=config.min_area,
        objects=ObjectTable.of(view.masks, config.table, config.classes) if of_objects else None,
        multi=config.connectivity == 8,
        confidence="confidence" in view.masks.layers,
    )
    if kind != "geojson":
        pieces = ArrowPieces(legend)
        return GeoParquet(pieces) if kind == "parquet" else GeoPackage(pieces)
    flavour = config.flavour
    if flavour == "auto":
        flavour = "qupath" if view.georef is None else "rfc7946"
    if flavour == "qupath":
        return GeoJson(
            replace(legend, place=Place.of(None, _slide_pixels(view, config.image))), config.object_type
        )
    if view.georef is None:
        raise InputError(
            f"{view.masks.path}: has no place on the earth, which RFC 7946 needs; use --set flavour=qupath"
        )
    place = replace(legend.place, target=LONGITUDE_LATITUDE, digits=config.digits)
    return GeoJson(replace(legend, place=place))


def _slide_pixels(view: View, image: str | None) -> float:
    """Pixels of the slide at level 0 for each of the mask's, which may be of a coarser level.

    Raises:
        InputError: a mask of a coarser level without its image.
    """
    level, ratio = level_of(view.masks), resample_of(view.masks)
    if level == 0:
        return 1.0 if ratio is None else ratio[-1]
    found = image_beside(view.masks, image)
    if found is None:
        of = "an unknown level" if level is None else f"level {level}"
        what = f"is of {of} of its image, which tells how large QuPath's pixels are and must be given"
        raise not_given(view.masks, what, {"image": "--image "})
    return float(found.levels[found.level].factor[-1])
