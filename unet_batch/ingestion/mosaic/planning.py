"""From a list of scenes and settings to the plan of a mosaic. Opens every scene's header, reads no pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_batch.errors import InputError
from unet_batch.extras import require
from unet_batch.formats.projection import crs_of, map_unit
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.layout import Blocking
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.listing import Listed
from unet_batch.ingestion.mosaic.plan import MergePart, MosaicPlan
from unet_batch.ingestion.mosaic.stage import fields_of, has_positions, survey_fields
from unet_batch.ingestion.mosaic.survey import Survey, Watch, find_band, pick_bands, survey
from unet_batch.ingestion.mosaic.target import place, target_of
from unet_batch.store.bands import Band
from unet_batch.store.layout import IMAGE_BLOCK

# Bytes of all channels of a block; wider pixels get smaller blocks.
BLOCK_BYTES = 128 * 2**20
SMALLEST_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what a person should know of how it came about."""

    plan: MosaicPlan
    notes: tuple[str, ...]


def make_plan(
    listed: Sequence[Listed], config: MosaicConfig, watch: Watch = lambda _done, _total: None
) -> Planned:
    """The plan of a mosaic of ``listed``.

    Raises:
        MissingError, FormatError: a scene that cannot be opened.
        InputError: scenes or settings that do not go together, or a package that is not installed.
    """
    require("shapely", "geo", "a mosaic")
    if config.rule not in ("first", "last"):
        listed = sorted(listed, key=lambda scene: (scene.path, scene.x or 0.0, scene.y or 0.0))
    if _is_stage(listed, config):
        return _of_fields(listed, config)
    return _of_scenes(survey(listed, config, watch), config)


def _is_stage(listed: Sequence[Listed], config: MosaicConfig) -> bool:
    if config.positions != "auto":
        return config.positions != "geo"
    if listed[0].x is not None:
        return True
    first = listed[0].path
    return first.lower().endswith((".ome.tif", ".ome.tiff", ".ome.tf8")) and has_positions(first)


def _of_scenes(found: Survey, config: MosaicConfig) -> Planned:
    first = found.scenes[0]
    target = target_of(found.scenes, config)
    scenes = place(found.scenes, target)
    read = pick_bands(first, config.bands)
    bands = tuple(first.bands[i] for i in read)
    warped = sum(not scene.copied for scene in scenes)
    notes = [*found.notes]
    if warped:
        notes.append(
            f"{warped} of {len(scenes)} scenes lie on other grids and are warped ({config.resampling})"
        )
    plan = MosaicPlan(
        kind="geo",
        scenes=scenes,
        axes="cyx" if len(bands) > 1 else "yx",
        shape=target.shape,
        **_extents(target.shape, 2, first.dtype, len(bands), config),
        dtype=first.dtype,
        read=read,
        bands=bands,
        nodata=_nodata(first.dtype, [scene.nodata for scene in found.scenes], config),
        georef=target.georef,
        pixel_size=target.georef.pixel_size,
        unit=map_unit(crs_of(target.georef.crs, "mosaic")),
        **_common(bands, config),
    )
    return Planned(plan, tuple(notes))


def _of_fields(listed: Sequence[Listed], config: MosaicConfig) -> Planned:
    fields = fields_of(listed, config)
    facts, scenes, plane = survey_fields(fields, config)
    names = facts.channel_names or tuple(f"channel {i}" for i in range(facts.channels))
    bands = tuple(Band(name) for name in names)
    wanted = config.bands or tuple(range(facts.channels))
    read = tuple(find_band(fields[0].path, bands, one) for one in wanted)
    kept, shape = tuple(bands[i] for i in read), facts.outer + plane
    axes = facts.axes.replace("c", "")
    plan = MosaicPlan(
        kind="stage",
        scenes=scenes,
        axes=axes if len(kept) == 1 else ("tc" + axes[1:] if axes.startswith("t") else "c" + axes),
        shape=shape,
        **_extents(shape, len(shape), facts.dtype, len(kept), config),
        dtype=facts.dtype,
        read=read,
        bands=kept,
        nodata=_nodata(facts.dtype, [facts.nodata], config),
        georef=None,
        pixel_size={a: s for a, s in facts.pixel_size.items() if a in axes},
        unit=facts.unit,
        **_common(kept, config),
    )
    return Planned(plan, (f"{len(fields)} fields of a stage scan, at whole pixels",))


def _common(bands: Sequence[Band], config: MosaicConfig) -> dict[str, Any]:
    quality = None if config.rule != "best" or config.quality is None else config.quality
    part = MergePart(
        rule=config.rule,
        quality=None if quality is None else find_band("quality", bands, quality),
        prefer=config.prefer,
        feather=config.feather,
        resampling=config.resampling,
        collar=config.collar,
        on_damage=config.on_damage,
    )
    return {
        "merge": part,
        "count": config.count,
        "compression": config.compression,
        "levels": config.levels,
    }


def _extents(
    shape: tuple[int, ...], ndim: int, dtype: str, channels: int, config: MosaicConfig
) -> dict[str, tuple[int, ...]]:
    side = IMAGE_BLOCK[2]
    while side > SMALLEST_BLOCK and side**2 * channels * np.dtype(dtype).itemsize > BLOCK_BYTES:
        side //= 2
    block = config.block or side
    wanted = IngestConfig(block=(block, block) if isinstance(block, int) else block, chunk=config.chunk)
    cut = Blocking.of("mosaic", "tzyx"[-ndim:], shape, wanted)
    if cut.dims != 2:
        raise InputError(
            "a mosaic is cut along y and x alone; give `block` and `chunk` as one or two numbers"
        )
    return {"block": cut.block, "chunk": cut.chunk}


def _nodata(dtype: str, own: Sequence[float | None], config: MosaicConfig) -> float | None:
    """The mosaic's value without data: the setting's, else the scenes' (the least), the collar's, NaN."""
    if config.nodata is not None:
        return _fitting(config.nodata, dtype)
    values = [value for value in own if value is not None]
    if values:
        return min(values, key=lambda value: (value != value, value))  # noqa: PLR0124 - NaN comes last
    if config.collar is not None:
        return _fitting(config.collar, dtype)
    if np.dtype(dtype).kind == "f":
        return float("nan")
    if not config.count:
        raise InputError(
            f"no value of {dtype} is known to mean no data; name one with `nodata`, or leave `count` on"
        )
    return None


def _fitting(value: float, dtype: str) -> float:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return value
    limits = np.iinfo(kind)
    if not float(value).is_integer() or not limits.min <= value <= limits.max:
        raise InputError(f"nodata {value:g} does not fit pixels of {dtype}; choose a value that does")
    return int(value)
