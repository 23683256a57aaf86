"""The occupancy of regions, counted once and kept in a folder under names that follow from the labels."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from unet_batch.atomic import atomic_file
from unet_batch.errors import InputError
from unet_batch.store.io_errors import writing
from unet_batch.training.data.occupancy import Cells
from unet_batch.training.data.region import Region
from unet_batch.training.data.scan import scanned

Progress = Callable[[int, int], None]
"""Called with pixels indexed and pixels in all."""

_VERSION = 1


def index(
    regions: Sequence[Region], dims: int, folder: Path | None, progress: Progress | None = None
) -> list[Cells]:
    """The labelled cells of every region; those that ``folder`` keeps are not counted again.

    Raises:
        InputError: a region without a labelled pixel, or a label that is no class.
    """
    total, done, found = sum(region.box.size for region in regions), 0, []
    stamps: dict[int, str] = {}
    for region in regions:
        stamp = stamps.setdefault(id(region.stores), "") or _stamp(region)
        stamps[id(region.stores)] = stamp

        def tell(pixels: int, before: int = done) -> None:
            if progress is not None:
                progress(before + pixels, total)

        found.append(_of_region(region, dims, _file(folder, stamp, region, dims), tell))
        done += region.box.size
    return found


def _of_region(region: Region, dims: int, file: Path | None, tell: Callable[[int], None]) -> Cells:
    cells = _kept(file)
    if cells is None:
        cells = scanned(region, dims, tell)
        _keep(file, cells)
    if not len(cells.index):
        raise InputError(
            f"{region}: {region.stores.truth.path} has no labelled pixel in this box; move it or leave it out"
        )
    return cells


def _stamp(region: Region) -> str:
    """What the labels of a region follow from, besides the box."""
    stores = region.stores
    return json.dumps([_VERSION, stores.truth.identity(), stores.truth.array.stamp(), stores.settings])


def _file(folder: Path | None, stamp: str, region: Region, dims: int) -> Path | None:
    if folder is None:
        return None
    said = json.dumps([stamp, dims, region.box.start, region.box.stop, region.stores.form.names])
    return folder / f"{hashlib.sha256(said.encode()).hexdigest()[:32]}.npz"


def _kept(file: Path | None) -> Cells | None:
    if file is None or not file.exists():
        return None
    try:
        with file.open("rb") as raw, np.load(raw) as kept:  # a torn file would stay open
            return Cells(tuple(kept["extent"].tolist()), kept["index"], kept["counts"].astype(np.int64))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # torn: counted again
        return None


def _keep(file: Path | None, cells: Cells) -> None:
    """Write beside the place and rename: other ranks may be reading, or writing the same."""
    if file is None:
        return
    with writing(str(file)):
        file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file, fsync=False) as out:
        np.savez_compressed(
            out, extent=np.asarray(cells.extent), index=cells.index, counts=cells.counts.astype(np.uint32)
        )
