"""Land cover of a country: scenes to a mosaic, to a mask, to a Cloud-Optimised GeoTIFF and polygons.

    python workflows/landcover.py [--out FOLDER] [--workers N] [--set KEY=VALUE ...]
    python workflows/landcover.py --scenes SCENES... --model CHECKPOINT      your own
    python workflows/landcover.py --cluster cluster.yaml ...                 each step is a SLURM job

Without arguments it makes a country with known land cover and 24 scenes of it (clouds, black frames, two UTM
zones, one file cut short), learns from the western part and is judged by the eastern half. Run it again and
it goes on where it ended.
"""

import argparse
import shutil
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import unet_batch
from unet_batch.cli.stopping import on_signals
from unet_batch.config import load
from unet_batch.engine.progress import Hooks, Progress
from unet_batch.errors import InputError, UnetBatchError, UnfinishedError
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.prediction.config import PredictConfig
from unet_batch.products.evaluate import Evaluation
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.preview.config import PreviewConfig
from unet_batch.store.image import Image
from unet_batch.tiling import Box
from unet_batch.training.config import TrainConfig
from unet_batch.training.hooks import Hooks as TrainHooks
from unet_batch.training.hooks import Progress as TrainProgress

CONFIGS = Path(__file__).parents[1] / "configs"
STEPS = {"scenes": "run", "mosaic": "run", "train": "run", "predict": "predict", "products": "run"}
UNFINISHED = 75  # exit code: run again, or let the batch system do so
BLOCKS = ("block=512", "chunk=256")  # small, so that even this country has seams to be free of
MINIMUM_AREA = 2500  # square metres of a polygon: 25 pixels of the made country


@dataclass(frozen=True, slots=True)
class Country:
    """Where everything lies; ``scenes`` and ``model`` are the caller's own, else made here."""

    out: Path
    scenes: Sequence[Path] = ()
    model: Path | None = None
    workers: int | None = None
    scheduler: str | None = None
    training: Sequence[str] = ()

    @property
    def mosaic(self) -> Path:
        """The image that all scenes make."""
        return self.out / "mosaic.zarr"

    @property
    def masks(self) -> Path:
        """Its land cover, which opens with it."""
        return self.mosaic / "labels" / "landcover"

    @property
    def made(self) -> bool:
        """Whether the country is made, so that its land cover is known."""
        return not self.scenes


def main() -> None:
    """Read the command line and tell the story."""
    if any(word.startswith("--cluster") for word in sys.argv[1:]):
        submit(sys.argv[1:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/landcover"))
    parser.add_argument("--scenes", type=Path, nargs="+", default=[], help="GeoTIFFs, or folders of them")
    parser.add_argument("--model", type=Path, help="a network for the scenes' bands")
    parser.add_argument("--workers", type=int, help="worker processes; 0: the plain loop without Dask")
    parser.add_argument("--scheduler", help="scheduler file of a running Dask cluster")
    parser.add_argument("--cluster", metavar="FILE", help="a cluster's YAML: send each step as a SLURM job")
    parser.add_argument("--set", dest="training", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--only", choices=STEPS, help="one step")
    given = vars(parser.parse_args())
    only = given.pop("only")
    del given["cluster"]
    try:
        finished = tell(Country(**given), [only] if only else STEPS)
    except UnfinishedError as error:
        parser.exit(UNFINISHED, f"{error}\n")
    except UnetBatchError as error:
        parser.exit(2, f"{error}\n")
    if not finished:
        parser.exit(UNFINISHED)


def submit(words: Sequence[str]) -> None:
    """The same as ``unet-batch submit workflow``."""
    sys.argv[1:] = ["submit", "workflow", __file__, *words]
    from unet_batch.cli.main import main as program  # noqa: PLC0415 - for login nodes, where nothing else runs

    program()


def tell(country: Country, steps: Collection[str] = tuple(STEPS)) -> bool:
    """The steps in turn, each going on where it was; False where one was stopped early."""
    if country.scenes and country.model is None:
        raise InputError("--scenes: needs the network for them too; give --model CHECKPOINT")
    works = {
        "scenes": make_scenes,
        "mosaic": make_mosaic,
        "train": train,
        "predict": predict,
        "products": make_products,
    }
    return all(works[step](country) for step in STEPS if step in steps)


def make_scenes(country: Country) -> bool:
    """The made country's scenes and its known land cover, once."""
    scenes, truth = country.out / "scenes", country.out / "truth.zarr"
    if not country.made or truth.exists():
        return True
    from landcover_scenes import make_country, write_scenes, write_truth  # noqa: PLC0415 - needs rasterio

    shutil.rmtree(scenes, ignore_errors=True)
    scenes.mkdir(parents=True)
    known = make_country()
    write_truth(known, country.out / "truth.tif")
    print(f"made {len(write_scenes(known, scenes))} scenes in {scenes}")
    unet_batch.ingest(country.out / "truth.tif", truth)  # last: it says that all is there
    return True


def make_mosaic(country: Country) -> bool:
    """All scenes as one image: the median of what is clear, each frame left out, the broken one named."""
    like = [f"like={country.out / 'truth.zarr'}"] if country.made else []
    config = load(MosaicConfig, CONFIGS / "mosaic" / "landsat.yaml", [*like, *BLOCKS, *_drive(country)])
    with on_signals(print) as stop:
        found = unet_batch.ingest_mosaic(
            country.scenes or [country.out / "scenes"], country.mosaic, config, hooks=Hooks(_tell, stop)
        )
    for note in (*found.notes, *found.damaged):
        print(f"note: {note}")
    print(f"mosaic of {found.scenes} scenes, {' x '.join(map(str, found.shape))} px")
    return not found.blocks["pending"]


def train(country: Country) -> bool:
    """A network for the made country, from the labels of its western part."""
    if country.model is not None:
        return True
    source = load(TrainConfig, CONFIGS / "train" / "landcover.yaml").data.sources[0].model_dump()
    source |= {"image": str(country.mosaic), "labels": str(country.out / "truth.zarr")}
    config = load(TrainConfig, CONFIGS / "train" / "landcover.yaml", country.training)
    data = config.data.model_copy(update={"sources": (type(config.data.sources[0]).model_validate(source),)})
    run = config.run.model_copy(update={"out": country.out / "run"})
    hooks = TrainHooks(_tell_training)
    return unet_batch.train(config.model_copy(update={"data": data, "run": run}), hooks=hooks).finished


def predict(country: Country) -> bool:
    """The mask: 255 where no scene had data."""
    model = country.model or country.out / "run" / "best.safetensors"
    config = load(PredictConfig, None, ["block=256", *_drive(country)])
    with on_signals(print) as stop:
        found = unet_batch.predict(country.mosaic, country.masks, model, config, hooks=Hooks(_tell, stop))
    return not found.blocks["pending"]


def make_products(country: Country) -> bool:
    """Files for other programs, a picture, and how good the mask is where the truth is known."""
    config = ExportConfig(overwrite=True, workers=0, min_area=MINIMUM_AREA)
    for name in ("landcover.tif", "landcover.geojson"):
        done = unet_batch.export(country.masks, country.out / name, config)
        print(f"{done.output}: {done.kind}, {done.bytes / 1e6:.1f} MB")
    unet_batch.preview([country.mosaic, country.masks], country.out / "landcover.png", colours(country))
    if country.made:
        from landcover_picture import draw  # noqa: PLC0415 - needs rasterio

        draw(country.out / "scenes", country.mosaic, country.masks, country.out / "story.png")
        report(judge(country))
    print(f"look at    {country.out / 'landcover.png'}, {country.out / 'landcover.tif'} (in QGIS)")
    print(f"ask        unet-batch status {country.masks}; unet-batch stats {country.masks}")
    return True


def colours(country: Country) -> PreviewConfig:
    """The made country as an eye would see it; other scenes by their first bands."""
    return PreviewConfig(channels=("red", "green", "blue") if country.made else None)


def judge(country: Country) -> Evaluation:
    """The mask against the known land cover of the eastern half, which no training saw."""
    height, width = Image.open(country.mosaic).shape
    east = Box((0, width // 2), (height, width))
    return unet_batch.evaluate(country.masks, country.out / "truth.zarr", roi=east)


def report(found: Evaluation) -> None:
    """Scores by class."""
    print(f"\n{'eastern half':<14}{'pixels':>10}{'Dice':>8}{'IoU':>8}")
    for name, scores in found.classes.items():
        print(f"{name:<14}{scores.pixels:>10,}{scores.dice or 0:>8.3f}{scores.iou or 0:>8.3f}")
    print(f"accuracy {found.accuracy or 0:.3f}; {found.unpredicted:,} px that no scene saw\n")


def _drive(country: Country) -> list[str]:
    workers = [] if country.workers is None else [f"workers={country.workers}"]
    return workers + ([] if country.scheduler is None else [f"scheduler={country.scheduler}"])


def _tell(_event: object, progress: Progress) -> None:
    print(progress.message or f"{progress.blocks_done} of {progress.blocks_total} blocks", flush=True)


def _tell_training(progress: TrainProgress) -> None:
    if progress.message:
        print(progress.message, flush=True)
    elif progress.scores or progress.step % 20 == 0:
        print(f"step {progress.step} of {progress.steps}: loss {progress.loss:.3f}", flush=True)


if __name__ == "__main__":
    main()
