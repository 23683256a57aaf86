"""Verbs that work by blocks take the same options and show themselves in the same way."""

import json

import click
import pytest

from tests.cli.program import call
from unet_batch.cli.main import cli
from unet_batch.cli.progress import Lines, of_step
from unet_batch.training.hooks import Progress

EVERY = {"config", "set", "scheduler", "workers", "overwrite", "quiet", "q", "json-lines", "json"}
VERBS = [
    "predict",
    "predict-many",
    "ingest file",
    "ingest mosaic",
    "ingest annotations",
    "ingest labels",
    "export",
    "objects",
    "stats",
]


def options_of(verb):
    context = click.Context(cli)
    command = cli
    for word in verb.split():
        command = command.get_command(context, word)
    return {name.lstrip("-") for option in command.params for name in option.opts if name[0] == "-"}


@pytest.mark.parametrize("verb", VERBS)
def test_block_verbs_take_the_same_options(verb):
    assert options_of(verb) >= EVERY


@pytest.mark.parametrize(
    ("words", "unit"),
    [
        (["objects", "done.zarr", "o.parquet"], "objects"),
        (["stats", "done.zarr", "s.csv", "--reference", "done.zarr/0"], "rows"),
        (["export", "done.zarr", "e.tif"], "blocks"),
        (["ingest", "rgb.png", "i.zarr"], "pixels"),
        (["verify", "done.zarr"], "checked"),
    ],
)
def test_json_lines_are_progress_and_a_summary(desk, words, unit):
    workers = [] if words[0] == "verify" else ["--workers", "0"]
    answer = call(*words, *workers, "--json-lines")
    assert (answer.code, answer.err) == (0, "")
    *before, last = [json.loads(line) for line in answer.out.splitlines()]
    assert {line["event"] for line in before} <= {"message", "progress"}
    ends = [line for line in before if line["event"] == "progress"][-1]
    assert ends["blocks_done"] == ends["blocks_total"] > 0
    assert last["event"] == "summary"
    assert last[unit]


def test_workers_and_scheduler_are_settings(desk):
    refusal = call("export", "done.zarr", "e.tif", "--workers", "many").refusal
    assert "`workers`" in refusal
    refusal = call("objects", "done.zarr", "o.parquet", "--scheduler", "no: such.json").refusal
    assert "no: such.json" in refusal


def test_a_training_shows_steps_and_keeps_scores(capsys):
    lines = Lines()
    lines.update(of_step(Progress(1, 10, loss=0.5, images_per_second=3.0)))
    lines.update(of_step(Progress(2, 10, loss=0.5)))  # the last line is fresh
    lines.update(of_step(Progress(3, 10, loss=0.25, scores={"dice": 0.75})))
    first, second = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (first["event"], first["step"], first["steps"], first["loss"]) == ("step", 1, 10, 0.5)
    assert (second["step"], second["scores"]) == (3, {"dice": 0.75})
    assert (
        of_step(Progress(3, 10, loss=0.25, scores={"dice": 0.75})).note == "step 3: loss 0.2500, dice 0.7500"
    )
