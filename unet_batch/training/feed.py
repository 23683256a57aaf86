"""Feed: batches read ahead become parts of a step on the device, augmented and normalised."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from unet_batch.training.augment.augment import Augment
from unet_batch.training.batch import Batch
from unet_batch.training.data.loader import Loader
from unet_batch.training.job import Job
from unet_batch.training.losses.target import Target
from unet_batch.training.sample import Sample
from unet_batch.training.step import Part


@dataclass(frozen=True, slots=True)
class Feed:
    """What the steps of this rank are made from.

    Attributes:
        job: whose settings.
        loader: reads.
        augment: does the rest.
    """

    job: Job
    loader: Loader
    augment: Augment

    def __call__(self) -> tuple[list[Part], Batch]:
        """The parts of the next step, and the batch that they were."""
        batch = next(self.loader)
        sample = self.augment(batch, self.job.ranks.device)
        return list(self._parts(sample)), batch

    def _parts(self, sample: Sample) -> Iterator[Part]:
        pieces = self.job.config.run.accumulate
        head, fill = self.job.spec.head, self.job.sources.form.fill
        weights: tuple[Tensor, ...] | tuple[None, ...] = (None,) * pieces
        if sample.weights is not None:
            weights = sample.weights.chunk(pieces)
        for images, labels, weight in zip(
            sample.images.chunk(pieces), sample.labels.chunk(pieces), weights, strict=True
        ):
            yield Part(images, Target.of(labels, weight, head, fill))


@contextmanager
def fed(job: Job) -> Iterator[Feed]:
    """The feed from where ``job`` stands, for the length of the run.

    Raises:
        InputError: a patch, class weights or a batch that do not fit the data.
    """
    config, ranks = job.config, job.ranks
    with Loader(
        job.sources,
        config.sampling,
        config.augment,
        config.run.batch,
        ranks.rank,
        ranks.count,
        job.standing.step,
    ) as loader:
        yield Feed(job, loader, Augment(config.augment, job.spec, loader.patch.input))
