"""Checkpointing: the last and the best network of a run are saved, each with its model card."""

import shutil

from unet_batch.atomic import atomic_path
from unet_batch.models.checkpoint import save_checkpoint
from unet_batch.training.card import make_card, write_page
from unet_batch.training.evaluator import Scores, selection_score
from unet_batch.training.trainer import Trainer


def save_last_and_best(trainer: Trainer, scores: Scores) -> None:
    """Save the network as the last one, and also as the best one where ``scores`` are the best so far.

    Without scores, as where there are no validation boxes, the last network is the best.
    """
    state, folder = trainer.state, trainer.folder
    state.last_scores = dict(scores)
    best = not (scores and state.best_scores) or _value(trainer, scores) > _value(trainer, state.best_scores)
    if best:
        state.best_step, state.best_scores = state.step, dict(scores)
    if not trainer.ranks.first:
        return
    card = make_card(trainer, {"validation": scores})
    save_checkpoint(folder.last, trainer.evaluated, trainer.spec, card, trainer.config.run.stored_as)
    if best:
        with atomic_path(folder.best) as temporary:
            shutil.copyfile(folder.last, temporary)
        write_page(folder.best, card)


def _value(trainer: Trainer, scores: Scores) -> float:
    return selection_score(trainer.config.validation, trainer.spec, scores)
