"""`train`: labelled Zarr to a checkpoint, new or resumed, on one rank or many.


>>> from unet_batch.config import load
>>> result = train(load(TrainConfig, Path("train.yaml")))   # again: goes on where it ended
>>> result.finished, result.step
(True, 2)
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from unet_batch.atomic import atomic_write
from unet_batch.calls import checked
from unet_batch.errors import FormatError, PlanMismatchError
from unet_batch.models.checkpoint import load_checkpoint, read_card, save_checkpoint
from unet_batch.training.card import write_page
from unet_batch.training.changes import changes, keep_labels
from unet_batch.training.config import TrainConfig
from unet_batch.training.distributed import Ranks, process_group
from unet_batch.training.evaluator import Scores, score_names
from unet_batch.training.files import RunFolder, write_json
from unet_batch.training.history import History
from unet_batch.training.hooks import Hooks, Progress
from unet_batch.training.loop import Ended, run_updates
from unet_batch.training.losses.own import OwnLoss
from unet_batch.training.report import draw_curves, draw_predictions
from unet_batch.training.trainer import Trainer, make_trainer


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Result of a call of ``train``.

    Attributes:
        out: folder of the run.
        finished: whether the run is at its end; False if it was stopped before, for the next call to go on.
        step: updates done.
        best_step: after which the best checkpoint was.
        validation: scores of the best checkpoint on the validation boxes.
        test: its scores on the test boxes, once finished.
        seconds: of all runs in this folder.
        skipped: steps without a finite loss.
        ended: what ended it before its last step: ``patience``, ``hook``, or nothing.
    """

    out: str
    finished: bool
    step: int
    best_step: int
    validation: Scores = field(default_factory=dict)
    test: Scores = field(default_factory=dict)
    seconds: float = 0.0
    skipped: int = 0
    ended: str = ""


@checked
def train(config: TrainConfig, *, hooks: Hooks = Hooks(), loss: OwnLoss | None = None) -> TrainResult:
    """Train as ``config`` says, into ``config.run.out``; a run that is there already goes on where it ended.

    Under torchrun every rank calls this. A finished run is left alone; where settings or labels have changed
    since, that is an error, unless ``config.run.overwrite`` begins it anew.

    Args:
        config: settings, or a mapping of their keys.
        hooks: to watch the run and to end it early.
        loss: takes the place of ``config.objective``: logits (N, K, S), labels and weights, both (N, S) or
            (N, L, S), to one number; see ``unet_batch.training.losses.own``.

    Raises:
        UnetBatchError: input that cannot be used, a folder that belongs to another training, ranks that do
            not meet, losses that are no numbers.
    """
    folder = RunFolder(Path(config.run.out))
    with process_group(config.run.device, config.run.join_seconds) as ranks, _held(folder, ranks):
        earlier = ranks.in_turn(lambda: _earlier_result(folder, config))
        if earlier is not None:
            hooks.observe(Progress(earlier.step, config.run.steps, message="nothing to do: this run is done"))
            return earlier
        trainer = make_trainer(config, ranks, folder, hooks, loss)
        with _history(trainer) as history:
            ended = run_updates(trainer, history)
        return _result(trainer, ended, test={}) if ended == "stopped" else _conclude(trainer, ended)


@contextmanager
def _held(folder: RunFolder, ranks: Ranks) -> Iterator[None]:
    if not ranks.first:
        yield
        return
    with folder.held():
        folder.stop.unlink(missing_ok=True)
        yield


@contextmanager
def _history(trainer: Trainer) -> Iterator[History | None]:
    if not trainer.ranks.first:
        yield None
        return
    settings = trainer.config.model_dump(mode="json", by_alias=True)
    atomic_write(trainer.folder.settings, yaml.safe_dump(settings, sort_keys=False))
    keep_labels(trainer.folder, trainer.config)
    names = score_names(trainer.config.validation, trainer.spec)
    with History(trainer.folder.metrics, trainer.folder.board, names, trainer.state.step) as history:
        yield history


def _conclude(trainer: Trainer, ended: Ended) -> TrainResult:
    """Evaluate the best network on the test boxes; write pictures, its card and the mark of the end."""
    # The first rank may still be writing it while the others are here already.
    network, spec = trainer.ranks.in_turn(lambda: load_checkpoint(trainer.folder.best))
    network.to(trainer.ranks.device)
    threshold = trainer.state.best_scores.get("membrane_threshold")
    if trainer.sources.test:
        trainer.tell(f"judging the best network on {len(trainer.sources.test)} test boxes")
    test = trainer.evaluator(network, trainer.sources.test, threshold)
    result = _result(trainer, ended, test=test)
    if trainer.ranks.first:
        card = read_card(trainer.folder.best)
        card["scores"]["test"] = test
        save_checkpoint(trainer.folder.best, network, spec, card, trainer.config.run.stored_as)
        write_page(trainer.folder.best, card)
        draw_curves(trainer.folder.metrics, trainer.folder.curves)
        draw_predictions(trainer, network, trainer.folder.predictions)
        trainer.save()
        write_json(trainer.folder.done, asdict(result))
    return result


def _result(trainer: Trainer, ended: Ended, test: Scores) -> TrainResult:
    state = trainer.state
    return TrainResult(
        out=str(trainer.folder.root),
        finished=ended != "stopped",
        step=state.step,
        best_step=state.best_step,
        validation=state.best_scores,
        test=test,
        seconds=round(state.seconds, 1),
        skipped=state.skipped,
        ended=ended if ended in ("patience", "hook") else "",
    )


def _earlier_result(folder: RunFolder, config: TrainConfig) -> TrainResult | None:
    """The result of a run that is already finished, unless more steps are wanted now, or a new beginning.

    Raises:
        PlanMismatchError: settings or labels have changed since.
    """
    try:
        found = TrainResult(**json.loads(folder.done.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise FormatError(f"{folder.done}: no result of a training ({error}); remove it") from None
    if config.run.overwrite:
        folder.clear()
        return None
    if not found.ended and found.step < config.run.steps:
        folder.done.unlink()
        return None
    if changed := changes(folder, config):
        raise PlanMismatchError(
            f"{folder.root}: this training is done, and was done otherwise ({changed}); train into another "
            "run.out, or begin anew with --overwrite"
        )
    return found
