"""`export`: a mask store as a file that other programs open, whole or not at all."""

import hashlib
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import unet_batch
from unet_batch.atomic import atomic_write
from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.progress import Hooks, Progress
from unet_batch.errors import OutputError
from unet_batch.products.crew import crew
from unet_batch.products.export.config import ExportConfig, Kind
from unet_batch.products.export.image_view import ImageView
from unet_batch.products.export.kinds import kind_of
from unet_batch.products.export.product import Joined, Product
from unet_batch.products.export.raster.parts import VRT
from unet_batch.products.export.raster.product import Raster
from unet_batch.products.export.raster.source import Source
from unet_batch.products.export.vector.product import Polygons
from unet_batch.products.export.view import View
from unet_batch.products.export.workplace import Workplace
from unet_batch.store.group import MARK, read_node
from unet_batch.store.io_errors import writing
from unet_batch.store.output import Output


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export did.

    Attributes:
        finished: false where it was stopped; the same call goes on.
        blocks: blocks in all.
        features: polygons written, None of rasters.
        bytes: size of the output.
    """

    output: str
    kind: str
    finished: bool
    blocks: int
    features: int | None
    bytes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The summary as plain values."""
        return asdict(self)


def export(
    masks: str | Path, out: str | Path, config: ExportConfig | None = None, *, hooks: Hooks = Hooks()
) -> ExportSummary:
    """Write the mask store, or image, ``masks`` to ``out``, in memory that does not depend on its size.

    Blocks are done as a prediction's are. Their pieces wait in ``OUT.partial`` for the last; after a stop
    or a kill the same call goes on from them.

    Args:
        masks: finished masks; or an image, bit for bit, as GeoTIFF: a COG or parts.
        out: ``.tif`` (COG), ``.ome.tif``, ``.geojson``, ``.parquet``, ``.gpkg``, or a folder for COG parts.
        config: settings.
        hooks: to watch the run and to end it early.

    Raises:
        UnetBatchError: masks, settings or an output that cannot be used.
    """
    began, config = time.perf_counter(), config or ExportConfig()
    kind, out = kind_of(str(out), config), Path(out)
    _refuse(out, kind, overwrite=config.overwrite)
    view, product = _opened(str(masks), kind, config)
    with Output.held(out) as output:
        _refuse(out, kind, overwrite=config.overwrite)
        with crew(config, view.planes * view.shape[0] * view.shape[1]) as workers:
            request = _request(view, kind, config)
            place = Workplace.open(out, request, overwrite=config.overwrite)  # not before there are workers
            passes = product.passes(place.folder)
            finished = place.run(passes, workers.execute, hooks)
        summary = ExportSummary(str(out), kind, False, sum(len(one.grid) for one in passes), None, 0, 0.0)
        if finished:
            joined = _publish(product, place, output, kind, hooks)
            summary = replace(summary, finished=True, features=joined.features, bytes=_size(out))
    return replace(summary, seconds=time.perf_counter() - began)


def _opened(store: str, kind: Kind, config: ExportConfig) -> tuple[Source, Product]:
    """What is exported, and what it becomes. Images become GeoTIFFs alone."""
    if (kind == "cog" or kind == "parts") and _is_image(store):  # noqa: PLR1714 - mypy narrows by these
        picture = ImageView.open(store, config.plane)
        return picture, Raster(kind, picture, config)
    view = View.open(store, _layer(kind, config), None if kind == "ome-tiff" else config.plane)
    if kind == "cog" or kind == "parts" or kind == "ome-tiff":  # noqa: PLR1714 - mypy narrows by these
        return view, Raster(kind, view, config)
    return view, Polygons.of(kind, view, config)


def _is_image(store: str) -> bool:
    return Path(store).exists() and "masks" not in read_node(store, store)[1]


def _publish(product: Product, place: Workplace, output: Output, kind: str, hooks: Hooks) -> Joined:
    """The output, made in the work folder and renamed into its place when it is whole."""
    out = output.path
    target, began = place.folder / f"whole.{kind}", time.perf_counter()

    def tell(done: int, total: int) -> None:
        hooks.observe(None, Progress(done, total, 0, time.perf_counter() - began))

    hooks.observe(None, Progress(0, 0, 0, 0.0, "joining the pieces"))
    with writing(str(out)):
        if target.exists():  # a kill while joining
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        joined = product.join(place.folder, target, tell)
        output.require_unchanged()
        sidecar = _sidecar(out)
        if joined.sidecar:
            atomic_write(sidecar, joined.sidecar)
        else:
            sidecar.unlink(missing_ok=True)
        output.publish(target)
    place.discard()
    return joined


def _layer(kind: str, config: ExportConfig) -> str:
    return config.layer if kind in {"cog", "parts", "ome-tiff"} else "labels"


def _refuse(out: Path, kind: str, *, overwrite: bool) -> None:
    if not overwrite:
        if out.exists():
            raise OutputError(f"{out}: exists already; choose another output, remove it or give --overwrite")
        if _sidecar(out).exists() and not out.with_name(f"{out.name}.partial").exists():
            raise OutputError(
                f"{_sidecar(out)}: left of another file; remove it, give --overwrite or choose another output"
            )
    elif out.is_dir() and not (kind == "parts" and _are_parts(out)):
        raise OutputError(f"{out}: a folder with other things in it is not replaced; choose another output")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"{out}: the folder {out.absolute().parent} does not exist; create it first")


def _sidecar(out: Path) -> Path:
    """Where GDAL looks for more about ``out``."""
    return out.with_name(f"{out.name}.aux.xml")


def _are_parts(folder: Path) -> bool:
    """Whether a folder is what an export of parts left, or empty; any other is not ours to replace."""
    entries = list(folder.iterdir())
    known = all(entry.is_file() and entry.name.endswith((".tif", VRT, ".aux.xml", MARK)) for entry in entries)
    return not entries or (known and (folder / VRT).exists())


def _request(view: Source, kind: str, config: ExportConfig) -> dict[str, Any]:
    """What decides the pieces: another request must not go on with them."""
    store, digest = Path(view.path), hashlib.sha256()
    for file in (store / "zarr.json", store / "ledger" / "zarr.json"):
        digest.update(file.read_bytes() if file.exists() else b"")
    elsewhere = {*ExecutionConfig.model_fields, "overwrite"}
    return {
        **config.model_dump(mode="json", exclude=elsewhere),
        "masks": str(store.resolve()),
        "masks_state": digest.hexdigest(),
        "kind": kind,
        "version": unet_batch.__version__,
    }


def _size(out: Path) -> int:
    files = [file for file in out.rglob("*") if file.is_file()] if out.is_dir() else [out]
    return sum(file.stat().st_size for file in files)
