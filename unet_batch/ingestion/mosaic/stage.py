"""Fields of a stage scan: where they lie by a CSV or by their OME-XML, in whole pixels. Warps nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unet_batch.errors import FormatError, InputError
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import foreign, open_reader
from unet_batch.formats.reader import Reader
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.listing import Listed
from unet_batch.ingestion.mosaic.scene import Scene
from unet_batch.store.nodata import first_of


@dataclass(frozen=True, slots=True)
class Field:
    """One field: an image of a file, and its position in pixels or micrometres."""

    path: str
    series: int
    x: float
    y: float
    unit: str


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """What all fields have in common."""

    axes: str
    outer: tuple[int, ...]
    channels: int
    channel_names: tuple[str, ...]
    dtype: str
    pixel_size: dict[str, float]
    unit: str | None
    nodata: float | None

    @classmethod
    def of(cls, reader: Reader) -> "FieldFacts":
        """Those of an open field."""
        return cls(
            axes=reader.axes,
            outer=tuple(reader.shape[:-2]),
            channels=reader.channels,
            channel_names=reader.channel_names,
            dtype=reader.dtype.name,
            pixel_size=dict(reader.pixel_size),
            unit=reader.unit,
            nodata=first_of(reader.nodata),
        )


def fields_of(listed: Sequence[Listed], config: MosaicConfig) -> list[Field]:
    """The fields with their positions, from the CSV's columns or from the files' own OME-XML.

    Raises:
        FormatError: a file without positions, or that cannot be read.
    """
    if listed[0].x is not None and config.positions != "ome":
        missing = next((scene.path for scene in listed if scene.x is None), None)
        if missing is not None:
            raise InputError(f"{missing}: has no position, others have; give x and y for each")
        return [Field(s.path, 0, s.x or 0.0, s.y or 0.0, config.position_unit) for s in listed]
    return [field for scene in listed for field in _from_ome(scene.path, config)]


def survey_fields(
    fields: Sequence[Field], config: MosaicConfig
) -> tuple[FieldFacts, tuple[Scene, ...], tuple[int, int]]:
    """What the fields have in common, where each lies, and rows and columns of the whole.

    Positions are rounded to whole pixels, so that no field is ever resampled.

    Raises:
        InputError: fields that do not go together, or positions in micrometres without a pixel size.
    """
    common, shapes = None, []
    for field in fields:
        config_of = ReadConfig(georeference=False, series=field.series)
        with open_reader(field.path, config_of) as reader:
            facts = FieldFacts.of(reader)
            shapes.append(tuple(reader.shape[-2:]))
        common = common or facts
        _require_alike(fields[0], common, field, facts)
    assert common is not None, "a listing is never empty"
    rows, columns = _in_pixels(fields, common, config)
    top, left = min(rows), min(columns)
    scenes = tuple(
        Scene(
            f.path,
            (r - top, c - left, r - top + h, c - left + w),
            True,
            nodata=common.nodata,
            series=f.series,
        )
        for f, r, c, (h, w) in zip(fields, rows, columns, shapes, strict=True)
    )
    return common, scenes, (max(s.span[2] for s in scenes), max(s.span[3] for s in scenes))


def has_positions(path: str) -> bool:
    """Whether a file's OME-XML says where on a stage its images lie."""
    try:
        return any(_from_ome(path, MosaicConfig()))
    except FormatError:
        return False


def _in_pixels(
    fields: Sequence[Field], common: FieldFacts, config: MosaicConfig
) -> tuple[list[int], list[int]]:
    per_pixel = {"y": 1.0, "x": 1.0}
    if fields[0].unit == "micrometer":
        missing = [axis for axis in "yx" if axis not in common.pixel_size]
        if missing:
            raise InputError(
                f"{fields[0].path}: positions in micrometres need a pixel size, and it has none; "
                "give positions in pixels (`position_unit: pixel`)"
            )
        per_pixel = common.pixel_size
    down, right = (-1 if config.flip_y else 1), (-1 if config.flip_x else 1)
    rows = [round(down * field.y / per_pixel["y"]) for field in fields]
    columns = [round(right * field.x / per_pixel["x"]) for field in fields]
    return rows, columns


def _from_ome(path: str, config: MosaicConfig) -> Iterator[Field]:
    from unet_batch.formats.tiff_facts import stage_positions  # noqa: PLC0415 - a decoder only when needed

    with foreign(path):
        found = stage_positions(Path(path))
    if not found:
        raise FormatError(f"{path}: its OME-XML has no stage positions; give a CSV with path, x and y")
    for series, position in enumerate(found):
        if position is None:
            raise FormatError(f"{path}: image {series} has no stage position; give a CSV with path, x and y")
        x, y, known = position
        yield Field(path, series, x, y, "micrometer" if known else config.position_unit)


def _require_alike(first: Field, common: FieldFacts, field: Field, facts: FieldFacts) -> None:
    for name in ("axes", "outer", "channels", "dtype"):
        ours, theirs = getattr(facts, name), getattr(common, name)
        if ours != theirs:
            raise InputError(
                f"{field.path}: its {name} {ours} are not the {theirs} of {first.path}; leave it out"
            )
