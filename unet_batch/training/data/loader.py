"""Loader: the batches of one rank, one after another, read ahead on threads."""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from unet_batch.errors import InputError
from unet_batch.training.augment.config import AugmentConfig
from unet_batch.training.batch import Batch
from unet_batch.training.data.config import SamplingConfig
from unet_batch.training.data.sampler import RawSample, SampleReader
from unet_batch.training.data.sources import Sources
from unet_batch.training.patch import Patch


class Loader:
    """An endless iterator of Batch from ``first_step`` on; close it, or use it as a context.

    Sample i of step s follows from the seed, s and i alone; a rank reads samples rank, rank + world_size, ...
    of the global batch. So a run may go on at any step, on any number of ranks.

    Attributes:
        patch: extents of what is read at most, seen by the network and answered for.
        step: the step that the next batch is for.
        waited: seconds that batches were waited for so far.
    """

    def __init__(
        self,
        sources: Sources,
        sampling: SamplingConfig,
        augment: AugmentConfig,
        global_batch: int,
        rank: int = 0,
        world_size: int = 1,
        first_step: int = 0,
    ) -> None:
        """Settle what is read.

        Raises:
            InputError: a patch, class weights or a batch that do not fit, or fewer samples than a batch.
        """
        _check_batch(global_batch, world_size, sources.occupancy.labelled)
        self.patch = Patch.of(sources.spec, sampling.patch, augment)
        self.step = first_step
        self.waited = 0.0
        self._reader = SampleReader.of(sources, sampling, self.patch, augment)
        self._numbers = range(rank, global_batch, world_size)
        self._prefetch = sampling.prefetch
        self._pool = ThreadPoolExecutor(sampling.threads, "read") if sampling.threads else None
        self._ahead: deque[list[Future[RawSample]]] = deque()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        began = time.perf_counter()
        batch = self._batch()
        self.step += 1
        self.waited += time.perf_counter() - began
        return batch

    def close(self) -> None:
        """Stop reading ahead."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._ahead.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _batch(self) -> Batch:
        if self._pool is None:
            return _batch_of([self._reader.read(self.step, number) for number in self._numbers])
        while len(self._ahead) <= self._prefetch:
            step = self.step + len(self._ahead)
            self._ahead.append([self._pool.submit(self._reader.read, step, n) for n in self._numbers])
        return _batch_of([read.result() for read in self._ahead.popleft()])


def _batch_of(reads: list[RawSample]) -> Batch:
    weights = tuple(read.weights for read in reads if read.weights is not None)
    return Batch(
        images=tuple(read.image for read in reads),
        labels=tuple(read.labels for read in reads),
        weights=weights or None,
        seeds=tuple(read.seed for read in reads),
        where=tuple(read.where for read in reads),
        affines=tuple(read.affine for read in reads),
    )


def _check_batch(global_batch: int, world_size: int, labelled: int) -> None:
    if global_batch < 1 or global_batch % world_size:
        raise InputError(
            f"a batch of {global_batch} cannot be shared evenly by {world_size} ranks; "
            f"give a multiple of {world_size}"
        )
    if labelled < global_batch:
        raise InputError(
            f"the training boxes hold {labelled} labelled pixels, fewer samples than a batch of "
            f"{global_batch}; label more, or make the batch smaller"
        )
