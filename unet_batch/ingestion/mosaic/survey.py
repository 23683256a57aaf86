"""Survey: the headers of all scenes, opened side by side, and what they must have in common."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from unet_batch.errors import FormatError, InputError, MissingError
from unet_batch.formats.projection import crs_of, crs_text
from unet_batch.formats.raster import RasterFacts, facts_of, opened, raster_errors
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.listing import Listed
from unet_batch.store.bands import Band

_READERS = 16
Watch = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Survey:
    """Scenes that can be read, and a line for each that cannot and was left out as asked."""

    scenes: tuple[RasterFacts, ...]
    notes: tuple[str, ...]


def survey(
    listed: Sequence[Listed], config: MosaicConfig, watch: Watch = lambda _done, _total: None
) -> Survey:
    """The facts of all ``listed`` scenes, in their order.

    Raises:
        MissingError, FormatError: a scene that cannot be opened, unless damage is filled by others.
        InputError: a scene without a place, or scenes that do not go together.
    """
    named = crs_text(crs_of(config.scene_crs, "scene_crs")) if config.scene_crs else None
    scenes, notes = [], []
    for done, found in enumerate(_opened(listed, config.remote), start=1):
        watch(done, len(listed))
        if isinstance(found, RasterFacts):
            scenes.append(_placed(found, named))
        elif config.on_damage == "fill":
            notes.append(f"left out: {found}")
        else:
            raise type(found)(f"{found}; or leave it out with `on_damage: fill`")
    if not scenes:
        raise InputError(f"none of {len(listed)} scenes can be read; the first: {notes[0]}")
    _require_alike(scenes)
    return Survey(tuple(scenes), tuple(notes))


def data_bands(facts: RasterFacts) -> tuple[int, ...]:
    """Numbers of the bands that hold data: all but alpha."""
    return tuple(i for i in range(len(facts.bands)) if i != facts.alpha)


def pick_bands(facts: RasterFacts, wanted: Sequence[int | str] | None) -> tuple[int, ...]:
    """The bands to keep, by number or name, or all that hold data."""
    if wanted is None:
        return data_bands(facts)
    return tuple(find_band(facts.path, facts.bands, one) for one in wanted)


def find_band(where: str, bands: Sequence[Band], wanted: int | str) -> int:
    """Number of a band by its number or name."""
    names = [band.name for band in bands]
    if isinstance(wanted, str) and wanted in names:
        return names.index(wanted)
    if isinstance(wanted, int) and wanted < len(bands):
        return wanted
    raise InputError(f"{where}: no band {wanted!r}; choose 0 to {len(bands) - 1}, or of {', '.join(names)}")


def _opened(listed: Sequence[Listed], remote: bool) -> Iterator[RasterFacts | FormatError | MissingError]:
    if len(listed) == 1:
        yield _facts(listed[0], remote)
        return
    with ThreadPoolExecutor(_READERS, thread_name_prefix="survey") as pool:
        yield from pool.map(partial(_facts, remote=remote), listed)


def _facts(scene: Listed, remote: bool) -> RasterFacts | FormatError | MissingError:
    try:
        with opened(scene.path, remote=remote) as dataset, raster_errors(scene.path):
            return facts_of(scene.path, dataset)
    except (FormatError, MissingError) as error:
        return error


def _placed(facts: RasterFacts, named: str | None) -> RasterFacts:
    if facts.transform is None:
        raise InputError(f"{facts.path}: does not say where it lies; rectify it first, or leave it out")
    if facts.crs is None and named is None:
        raise InputError(f"{facts.path}: names no CRS; say which with `scene_crs`, such as EPSG:32633")
    return facts if facts.crs is not None else replace(facts, crs=named)


def _require_alike(scenes: Sequence[RasterFacts]) -> None:
    first = scenes[0]
    for scene in scenes[1:]:
        if scene.dtype != first.dtype:
            fault = f"its pixels are {scene.dtype}, those of {first.path} {first.dtype}"
        elif len(data_bands(scene)) != len(data_bands(first)):
            fault = f"it has {len(data_bands(scene))} bands, {first.path} {len(data_bands(first))}"
        elif _meanings(scene) != _meanings(first):
            fault = f"its scales, offsets or units are not those of {first.path}"
        else:
            continue
        raise InputError(f"{scene.path}: {fault}; convert it first, or make a mosaic of its own")


def _meanings(facts: RasterFacts) -> list[tuple[float, float, str | None]]:
    return [facts.bands[i].meaning for i in data_bands(facts)]
