"""Labelled Zarr -> checkpoint: the whole story of a training, new or resumed, on one rank or many."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from unet_batch.atomic import atomic_write
from unet_batch.errors import FormatError
from unet_batch.models.checkpoint import load_checkpoint, read_card, save_checkpoint
from unet_batch.training.card import write_page
from unet_batch.training.config import TrainConfig
from unet_batch.training.distributed import Ranks, joined
from unet_batch.training.evaluator import Scores, score_names
from unet_batch.training.files import RunFolder, write_json
from unet_batch.training.history import History
from unet_batch.training.hooks import Hooks, Progress
from unet_batch.training.job import Job, prepare
from unet_batch.training.loop import learn
from unet_batch.training.report import draw_curves, draw_predictions


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a call of ``train`` came to.

    Attributes:
        out: folder of the run.
        finished: whether the last step is done; False if it was stopped before.
        step: updates done.
        best_step: after which the best checkpoint was.
        validation: scores of the best checkpoint on the validation boxes.
        test: its scores on the test boxes, once finished.
        seconds: of all runs in this folder.
        skipped: steps without a finite loss.
    """

    out: str
    finished: bool
    step: int
    best_step: int
    validation: Scores = field(default_factory=dict)
    test: Scores = field(default_factory=dict)
    seconds: float = 0.0
    skipped: int = 0


def train(config: TrainConfig, *, hooks: Hooks = Hooks()) -> TrainResult:
    """Train as ``config`` says, into ``config.run.out``; a run that is there already goes on where it ended.

    Under torchrun every rank calls this. A finished run is left alone.

    Raises:
        UnetBatchError: input that cannot be used, a folder that belongs to another training, ranks that do
            not meet, losses that are no numbers.
    """
    folder = RunFolder(Path(config.run.out))
    with joined(config.run.device, config.run.join_seconds) as ranks, _held(folder, ranks):
        earlier = ranks.in_turn(lambda: _result_there(folder, config))
        if earlier is not None:
            hooks.observe(Progress(earlier.step, config.run.steps, message="nothing to do: this run is done"))
            return earlier
        job = prepare(config, ranks, folder, hooks)
        with _history(job) as history:
            finished = learn(job, history)
        return _conclude(job) if finished else _result(job, finished=False, test={})


@contextmanager
def _held(folder: RunFolder, ranks: Ranks) -> Iterator[None]:
    if not ranks.first:
        yield
        return
    with folder.held():
        folder.stop.unlink(missing_ok=True)
        yield


@contextmanager
def _history(job: Job) -> Iterator[History | None]:
    if not job.ranks.first:
        yield None
        return
    settings = job.config.model_dump(mode="json", by_alias=True)
    atomic_write(job.folder.settings, yaml.safe_dump(settings, sort_keys=False))
    names = score_names(job.config.validation, job.spec)
    with History(job.folder.metrics, job.folder.board, names, job.standing.step) as history:
        yield history


def _conclude(job: Job) -> TrainResult:
    """The best network judged on the test boxes; sheets, card and the sign that all is done."""
    # The first rank may still be writing it while the others are here already.
    network, spec = job.ranks.in_turn(lambda: load_checkpoint(job.folder.best))
    network.to(job.ranks.device)
    threshold = job.standing.best_scores.get("membrane_threshold")
    if job.sources.test:
        job.tell(f"judging the best network on {len(job.sources.test)} test boxes")
    test = job.judge(network, job.sources.test, threshold)
    result = _result(job, finished=True, test=test)
    if job.ranks.first:
        card = read_card(job.folder.best)
        card["scores"]["test"] = test
        save_checkpoint(job.folder.best, network, spec, card, job.config.run.stored_as)
        write_page(job.folder.best, card)
        draw_curves(job.folder.metrics, job.folder.curves)
        draw_predictions(job, network, job.folder.predictions)
        job.save()
        write_json(job.folder.done, asdict(result))
    return result


def _result(job: Job, *, finished: bool, test: Scores) -> TrainResult:
    standing = job.standing
    return TrainResult(
        out=str(job.folder.root),
        finished=finished,
        step=standing.step,
        best_step=standing.best_step,
        validation=standing.best_scores,
        test=test,
        seconds=round(standing.seconds, 1),
        skipped=standing.skipped,
    )


def _result_there(folder: RunFolder, config: TrainConfig) -> TrainResult | None:
    """What an earlier run came to, unless more steps are wanted now."""
    try:
        found = TrainResult(**json.loads(folder.done.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise FormatError(f"{folder.done}: no result of a training ({error}); remove it") from None
    if found.step >= config.run.steps:
        return found
    folder.done.unlink()
    return None
