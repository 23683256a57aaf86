"""The model card: what a network learnt from and how, and its scores. JSON in the header, Markdown beside."""

import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from unet_batch.atomic import atomic_write
from unet_batch.training.data.region import Region
from unet_batch.training.trainer import Trainer

_NAMED = 6
PACKAGES = ("unet-batch", "torch", "numpy", "scikit-image", "zarr")


def make_card(trainer: Trainer, scores: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The card of the network as it stands; ``scores`` by part of the data."""
    sources = trainer.sources
    return {
        "data": {
            "labelled_pixels": sources.counts,
            **{
                part: [_place(region) for region in getattr(sources, part)]
                for part in ("train", "validation", "test")
            },
        },
        "scores": scores,
        "training": {
            "step": trainer.state.step,
            "steps": trainer.config.run.steps,
            "seconds": round(trainer.state.seconds, 1),
            "skipped": trainer.state.skipped,
            "ranks": trainer.ranks.count,
            "device": trainer.ranks.device.type,
            "started_from": None if trainer.config.model.start is None else trainer.config.model.start.name,
        },
        "settings": trainer.config.model_dump(mode="json", exclude={"model", "data"}),
        "versions": {
            "python": sys.version.split()[0],
            **{name: found for name in PACKAGES if (found := _version(name))},
        },
        "machine": platform.machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def write_page(checkpoint: Path, card: dict[str, Any]) -> Path:
    """The card as Markdown beside ``checkpoint``."""
    path = checkpoint.with_suffix(".md")
    atomic_write(path, page(checkpoint.name, card))
    return path


def page(name: str, card: dict[str, Any]) -> str:
    """The card as Markdown."""
    training, data = card["training"], card["data"]
    lines = [
        f"# {name}",
        "",
        f"Step {training['step']} of {training['steps']}, after {training['seconds'] / 60:.1f} minutes on "
        f"{training['ranks']} {training['device']} rank(s), {card['date']}. The same facts and all settings "
        f"are in the file's header: `unet-batch model info {name}`.",
        "",
    ]
    for part, scores in card["scores"].items():
        lines += [f"## Scores on the {part} boxes", "", "| score | value |", "|---|---|"]
        lines += [f"| {score} | {value:.4f} |" for score, value in scores.items()] or ["| none | |"]
        lines += [""]
    lines += ["## Data", "", "| class | labelled pixels |", "|---|---|"]
    lines += [f"| {label} | {pixels:,} |" for label, pixels in data["labelled_pixels"].items()]
    for part in ("train", "validation", "test"):
        lines += ["", f"{part}: {_listed(data[part])}"]
    lines += ["", "## Versions", "", ", ".join(f"{k} {v}" for k, v in card["versions"].items()), ""]
    return "\n".join(lines)


def _listed(places: list[str]) -> str:
    more = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    return (", ".join(f"`{place}`" for place in places[:_NAMED]) or "none") + more


def _place(region: Region) -> str:
    """With the last of its folders alone: the others say more of a machine than of the data."""
    return str(region).removeprefix(str(Path(region.stores.image.path).parent.parent) + "/")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
