"""Keeping checkpoints: the last and the best network, each with its model card."""

import shutil

from unet_batch.atomic import atomic_path
from unet_batch.models.checkpoint import save_checkpoint
from unet_batch.training.card import make_card, write_page
from unet_batch.training.evaluator import Scores, merit
from unet_batch.training.job import Job


def keep(job: Job, scores: Scores) -> None:
    """Write the network as the last one and, if it is the best so far (or there are no scores), as that."""
    standing = job.standing
    standing.last_scores = dict(scores)
    best = not scores or not standing.best_scores or _merit(job, scores) > _merit(job, standing.best_scores)
    if best:
        standing.best_step, standing.best_scores = standing.step, dict(scores)
    if not job.ranks.first:
        return
    card = make_card(job, standing.step, {"validation": scores})
    save_checkpoint(job.folder.last, job.judged, job.spec, card, job.config.run.stored_as)
    if best:
        with atomic_path(job.folder.best) as temporary:
            shutil.copyfile(job.folder.last, temporary)
        write_page(job.folder.best, card)


def _merit(job: Job, scores: Scores) -> float:
    return merit(job.config.validation, job.spec, scores)
