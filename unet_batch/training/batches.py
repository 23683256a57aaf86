"""Batches: this rank's share of each batch, read ahead, augmented and normalised on its device.

`InTurn` makes a batch when it is asked for, on devices that are done when a call returns (CPUs). `Ahead`
makes the next one on a thread and a stream of its own while the device computes the step before it.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from unet_batch.devices.device import Device, Event, open_device
from unet_batch.training.augment.augment import Augment
from unet_batch.training.batch import Batch
from unet_batch.training.data.labels import LabelForm
from unet_batch.training.data.loader import Loader
from unet_batch.training.losses.target import Target
from unet_batch.training.step import Part
from unet_batch.training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch as it was read, and the parts that its step is computed in."""

    parts: list[Part]
    batch: Batch


class Batches(Protocol):
    """One batch after another."""

    @property
    def waited(self) -> float:
        """Seconds that steps have waited for their batches so far."""

    def __call__(self) -> Prepared:
        """The next batch; what the current stream does from now on may use it."""


@dataclass(frozen=True, slots=True)
class InTurn:
    """Batches that are made when they are asked for.

    Attributes:
        loader: reads samples ahead.
        augment: augments and normalises them.
        parts: how many parts a batch is computed in (``run.accumulate``).
        device: where they go.
        form: of the labels.
    """

    loader: Loader
    augment: Augment
    parts: int
    device: Device
    form: LabelForm

    @property
    def waited(self) -> float:
        """Seconds for which samples were waited for."""
        return self.loader.waited

    def __call__(self) -> Prepared:
        """The next batch."""
        batch = next(self.loader)
        sample = self.augment(batch, self.device.place)
        weights: tuple[Tensor | None, ...] = (None,) * self.parts
        if sample.weights is not None:
            weights = sample.weights.chunk(self.parts)
        pieces = zip(sample.images.chunk(self.parts), sample.labels.chunk(self.parts), weights, strict=True)
        head, fill = self.form.head, self.form.fill
        parts = [Part(images, Target.of(labels, weight, head, fill)) for images, labels, weight in pieces]
        return Prepared(parts, batch)


class Ahead:
    """The same, one batch ahead; close it, or use it as a context.

    A batch lies in memory of the side stream, which takes it back at its next work. So each is kept until
    that stream waits for the step that used it.
    """

    def __init__(self, batches: InTurn) -> None:
        self.batches, self.device, self.waited = batches, batches.device, 0.0
        self.side = self.device.stream()
        self._in_use: Prepared | None = None
        self._over: tuple[Prepared, Event] | None = None
        self._thread = ThreadPoolExecutor(1, "augment")
        self._next = self._thread.submit(self._made)

    def __call__(self) -> Prepared:
        """The next batch, enqueued; the one after it is begun."""
        began = time.perf_counter()
        prepared, ready = self._next.result()
        self.waited += time.perf_counter() - began
        current = self.device.current_stream()
        if self._in_use is not None:
            self._over = self._in_use, current.record()
        self._in_use = prepared
        self._next = self._thread.submit(self._made)
        current.wait(ready)
        return prepared

    def close(self) -> None:
        """Let the batch under way end."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _made(self) -> tuple[Prepared, Event]:
        with self.side:
            if self._over is not None:
                self.side.wait(self._over[1])
                self._over = None
            return self.batches(), self.side.record()


@contextmanager
def open_batches(trainer: Trainer) -> Iterator[Batches]:
    """The batches from the trainer's step on; read ahead until the context ends.

    Raises:
        InputError: a patch, class weights or a batch that do not fit the data.
    """
    config, ranks, sources = trainer.config, trainer.ranks, trainer.sources
    with Loader(
        sources,
        config.sampling,
        config.augment,
        config.run.batch,
        ranks.rank,
        ranks.count,
        trainer.state.step,
    ) as loader:
        augment = Augment(config.augment, sources.spec, loader.patch.input)
        device = open_device(str(ranks.device))
        batches = InTurn(loader, augment, config.run.accumulate, device, sources.form)
        if not device.asynchronous:
            yield batches
            return
        ahead = Ahead(batches)
        try:
            yield ahead
        finally:
            ahead.close()
