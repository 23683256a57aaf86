"""`export`: a mask store as a file that other programs open, whole or not at all.

>>> export("masks.zarr", "masks.tif", ExportConfig(workers=0)).kind
'cog'
>>> export("masks.zarr", "masks.geojson", ExportConfig(workers=0, classes=["b"])).features > 0
True
"""

import hashlib
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import unet_batch
from unet_batch.atomic import atomic_write, sweep
from unet_batch.calls import checked
from unet_batch.config import Config
from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.job import Ask, run_job
from unet_batch.engine.partial_folder import PartialFolder
from unet_batch.engine.passes import BlockPass
from unet_batch.engine.progress import Hooks, Reporter
from unet_batch.engine.target import Facts
from unet_batch.engine.worker_pool import Workers, numpy_workers
from unet_batch.errors import OutputError
from unet_batch.products.export.config import ExportConfig, Kind, kind_of
from unet_batch.products.export.product import Product
from unet_batch.products.export.raster.cog import VRT
from unet_batch.products.export.raster.product import Raster
from unet_batch.products.export.vector.product import Polygons
from unet_batch.products.export.view import ImageView, Source, View
from unet_batch.store.group import read_node
from unet_batch.store.io_errors import writing

if TYPE_CHECKING:
    from unet_batch.products.export.instances import Instances


@dataclass(frozen=True, slots=True)
class ExportResult:
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
        """The result as plain values."""
        return asdict(self)


@checked
def export(
    masks: str | Path, out: str | Path, config: ExportConfig | None = None, *, hooks: Hooks = Hooks()
) -> ExportResult:
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
    kind = kind_of(str(out), config)
    target = ExportFolder(Path(out), config.overwrite, f".{kind}")
    target.check()
    view, product = _opened(str(masks), kind, config)
    job = ExportJob(kind, view, product, target, config)
    instances = _instances(view, product, target.out, config)
    if instances is not None:
        if not instances.make(hooks):
            return replace(job.result(None), seconds=time.perf_counter() - began)
        view, product = _opened(str(instances.store), kind, instances.exported)
        job = replace(job, view=view, product=product, config=instances.exported)
    done = replace(run_job(job, hooks), seconds=time.perf_counter() - began)
    if instances is not None and done.finished:
        instances.discard()
    return done


class ExportPlan(Config):
    """What decides the pieces of an export: masks by the state of their metadata and ledger, and settings."""

    masks: str
    state: str
    kind: str
    settings: dict[str, Any]
    version: str


class ExportFolder(PartialFolder):
    """A file, or a folder of parts, that grows in ``OUT.partial``."""

    @property
    def sidecar(self) -> Path:
        """Where GDAL looks for more about the output."""
        return self.out.with_name(f"{self.out.name}.aux.xml")

    def check(self) -> None:
        """Refuse an output that is there or in no folder; of folders only those of parts are replaced."""
        PartialFolder.check(self)
        if not self.overwrite and self.sidecar.exists() and not self.folder.exists():
            raise OutputError(
                f"{self.sidecar}: left of another file; remove it, give --overwrite or choose another output"
            )
        if self.out.is_dir() and not (self.suffix == ".parts" and _are_parts(self.out)):
            raise OutputError(
                f"{self.out}: a folder with other things in it is not replaced; choose another output"
            )
        if not self.out.absolute().parent.is_dir():
            raise OutputError(
                f"{self.out}: the folder {self.out.absolute().parent} does not exist; create it first"
            )


@dataclass(frozen=True, slots=True)
class ExportJob:
    """One export, new or resumed."""

    kind: Kind
    view: Source
    product: Product
    target: ExportFolder
    config: ExportConfig
    retry_failed: bool = True

    def plan(self, stored: Mapping[str, Any] | None, ask: Ask) -> ExportPlan:
        """The masks as they are now, and the settings."""
        del stored, ask
        store, digest = Path(self.view.path), hashlib.sha256()
        for file in (store / "zarr.json", store / "ledger" / "zarr.json"):
            digest.update(file.read_bytes() if file.exists() else b"")
        return ExportPlan(
            masks=str(store.resolve()),
            state=digest.hexdigest(),
            kind=self.kind,
            settings=self.config.model_dump(
                mode="json", exclude={*ExecutionConfig.model_fields, "instances"}
            ),
            version=unet_batch.__version__,
        )

    def create(self, plan: ExportPlan) -> None:
        """Nothing: joining makes the output."""

    def workers(self, pixels: int) -> Workers:
        """A process per core, where there is enough to do."""
        return numpy_workers(self.config, pixels)

    def passes(self, plan: ExportPlan) -> list[BlockPass]:
        """Those of the kind of output; pieces go to the folder."""
        del plan
        return self.product.passes(self.target.folder)

    def finish(self, plan: ExportPlan, reporter: Reporter) -> Facts:
        """The pieces joined, and what GDAL reads beside the output."""
        del plan
        out, content = self.target.out, self.target.content
        with writing(str(out)):
            if content.is_dir():  # a kill while joining
                shutil.rmtree(content)
            content.unlink(missing_ok=True)
            joined = self.product.join(self.target.folder, content, reporter.counter("joining the pieces"))
            sweep(self.target.sidecar.parent, of=self.target.sidecar)
            if joined.sidecar:
                atomic_write(self.target.sidecar, joined.sidecar)
            else:
                self.target.sidecar.unlink(missing_ok=True)
        return {"features": joined.features}

    def result(self, facts: Facts | None) -> ExportResult:
        """What was written."""
        out, blocks = self.target.out, sum(len(one.blocks) for one in self.product.passes(self.target.folder))
        if facts is None:
            return ExportResult(str(out), self.kind, False, blocks, None, 0, 0.0)
        return ExportResult(str(out), self.kind, True, blocks, facts["features"], _size(out), 0.0)


def _opened(store: str, kind: Kind, config: ExportConfig) -> tuple[Source, Product]:
    """What is exported, and what it becomes. Images become GeoTIFFs alone."""
    if (kind == "cog" or kind == "parts") and _is_image(store):  # noqa: PLR1714 - mypy narrows by these
        picture = ImageView.open(store, config.plane)
        return picture, Raster(kind, picture, config)
    view = View.open(store, _layer(kind, config), None if kind == "ome-tiff" else config.plane)
    if kind == "cog" or kind == "parts" or kind == "ome-tiff":  # noqa: PLR1714 - mypy narrows by these
        return view, Raster(kind, view, config)
    return view, Polygons.of(kind, view, config)


def _instances(view: Source, product: Product, out: Path, config: ExportConfig) -> "Instances | None":
    """What polygons of masks with a border class are made of."""
    if not (isinstance(view, View) and isinstance(product, Polygons)):
        return None
    from unet_batch.products.export.instances import Instances  # noqa: PLC0415 - rasters need no extra for it

    return Instances.of(view.masks, out, config)


def _is_image(store: str) -> bool:
    return Path(store).exists() and "masks" not in read_node(store, store)[1]


def _layer(kind: str, config: ExportConfig) -> str:
    return config.layer if kind in {"cog", "parts", "ome-tiff"} else "labels"


def _are_parts(folder: Path) -> bool:
    """Whether a folder is what an export of parts left, or empty; any other is not ours to replace."""
    entries = list(folder.iterdir())
    known = all(entry.is_file() and entry.name.endswith((".tif", VRT, ".aux.xml")) for entry in entries)
    return not entries or (known and (folder / VRT).exists())


def _size(out: Path) -> int:
    files = [file for file in out.rglob("*") if file.is_file()] if out.is_dir() else [out]
    return sum(file.stat().st_size for file in files)
