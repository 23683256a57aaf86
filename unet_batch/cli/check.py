"""What a login node can find wrong with a verb's call before it becomes a job. Loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

# The argument that names what a verb writes.
OUTS = {"predict": "out", "ingest": "out", "predict-many": "out_dir", "export": "out", "preview": "out"}
OUTS |= {"objects": "table", "stats": "table", "report": "page"}


@dataclass(frozen=True, slots=True)
class Checked:
    """A call that can be parsed: what it reads and writes, for names and comments."""

    subject: str
    out: str | None
    told: str


def check(verb: str, words: Sequence[str]) -> Checked:
    """Parse ``words`` as ``verb`` would.

    Raises:
        click.UsageError: words that the verb does not take.
        UnetBatchError: a prediction's image, network or settings that cannot be used.
    """
    from unet_batch.cli.main import cli  # noqa: PLC0415 - main imports the verbs

    program = click.Context(cli, info_name="unet-batch")
    found = cli.get_command(program, verb)
    if isinstance(found, click.Group):  # `ingest SOURCE OUT` is short for `ingest file SOURCE OUT`
        here = click.Context(found)
        name, *rest = words if words and words[0] in found.list_commands(here) else ("file", *words)
        found, words = found.get_command(here, name), rest
    if found is None:
        return Checked("", None, " ".join(words))
    context = found.make_context(verb, list(words), parent=program)
    arguments = [p.name for p in found.params if isinstance(p, click.Argument) and p.name]
    if verb == "predict":
        _check_prediction(context.params)
    if verb == "predict-many":
        _check_many(context.params)
    if verb == "train":
        folder = _training_folder(context.params)
        return Checked(folder, folder, f"-> {folder}")
    places = [_shortened(context.params[name]) for name in arguments]
    out = context.params.get(OUTS.get(verb, ""))
    if out and str(out) not in places:  # an option
        places.append(str(out))
    return Checked(places[0] if places else "", str(out) if out else None, " -> ".join(places))


def _shortened(value: Any) -> str:
    """A path, or the first of many."""
    if not isinstance(value, tuple):
        return str(value)
    more = f" and {len(value) - 1} more" if len(value) > 1 else ""
    return f"{value[0]}{more}" if value else ""


def _check_prediction(given: dict[str, Any]) -> None:
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.prediction.autotuner import assume  # noqa: PLC0415
    from unet_batch.prediction.config import PredictConfig  # noqa: PLC0415
    from unet_batch.prediction.request import Request  # noqa: PLC0415

    config = load(PredictConfig, given["config_file"], given["overrides"])
    assume(Request.open(str(Path(given["image"])), given["models"], config, given["axes"]))


def _training_folder(given: dict[str, Any]) -> str:
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.training.config import TrainConfig  # noqa: PLC0415

    return str(load(TrainConfig, given["config_file"], given["overrides"]).run.out)


def _check_many(given: dict[str, Any]) -> None:
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.models.checkpoint import read_spec  # noqa: PLC0415
    from unet_batch.prediction.config import PredictConfig  # noqa: PLC0415
    from unet_batch.prediction.many import found_in  # noqa: PLC0415

    load(PredictConfig, given["config_file"], given["overrides"])
    for model in given["models"]:
        read_spec(Path(model))
    found_in(given["images"])
