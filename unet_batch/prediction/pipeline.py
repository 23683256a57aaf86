"""Pipelines: blocks of pixels in, what the store holds of them out, by a device that threads share.

`InTurn` serves devices that have done their work when a call returns (CPUs): threads take turns. `Pipelined`
serves those that have not (GPUs): a ring of slots in pinned memory, and streams for copying in, computing and
copying out, so that the device always has its next block before it ends the last:

    thread 1   decode | stage | enqueue | wait ........ | encode, write
    thread 2             decode | stage | enqueue | wait ........ | encode
    copy in                     11        22
    compute                       1111111111  2222222222
    copy out                                11          22

Bytes do not depend on which of both is used, nor on the number of slots.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unet_batch.devices.device import Device, Event
from unet_batch.engine.stopwatch import Stopwatch
from unet_batch.prediction.predictor import Computed, Predictor, to_host
from unet_batch.tiling import Box

SLOTS = 3  # one is copied in or out while one computes and one waits to be computed


class Pipeline(Protocol):
    """What a worker's threads call for their blocks."""

    def __call__(
        self, hull: NDArray[Any], region: Box, valid: NDArray[np.bool_] | None, stopwatch: Stopwatch
    ) -> Computed:
        """The block ``region`` from the pixels (C, *read box) of its tiles; see `Predictor.answer`."""


def pipeline_of(predictor: Predictor) -> Pipeline:
    """The one that suits the predictor's device."""
    return Pipelined(predictor) if predictor.window.device.asynchronous else InTurn(predictor)


class InTurn:
    """As many threads compute at once as the predictor bears; one more has what it computed."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.turns = threading.BoundedSemaphore(predictor.calls)
        self.answers = threading.BoundedSemaphore(predictor.calls + 1)

    def __call__(
        self, hull: NDArray[Any], region: Box, valid: NDArray[np.bool_] | None, stopwatch: Stopwatch
    ) -> Computed:
        """The block, once it is this thread's turn."""
        with _turn(self.answers, stopwatch):
            with _turn(self.turns, stopwatch), stopwatch("network"):
                answer = self.predictor.answer(hull, region, valid)
            with stopwatch("write"):
                return self.predictor.computed(answer, region)


class Pipelined:
    """Blocks are enqueued one behind the other; each thread waits for its own alone."""

    def __init__(self, predictor: Predictor, slots: int = SLOTS) -> None:
        self.predictor, self.device = predictor, predictor.window.device
        self.upload, self.compute, self.download = (self.device.stream() for _ in range(3))
        self.order = threading.Lock()
        self.free: SimpleQueue[_Slot] = SimpleQueue()
        for _ in range(slots):
            self.free.put(_Slot(self.device))

    def __call__(
        self, hull: NDArray[Any], region: Box, valid: NDArray[np.bool_] | None, stopwatch: Stopwatch
    ) -> Computed:
        """The block, once the device has it ready."""
        with stopwatch("wait"):
            slot = self.free.get()
        try:
            with stopwatch("stage"):
                pixels = slot.staged("pixels", self.predictor.spatial(hull))
                keep = None if valid is None else slot.staged("keep", self.predictor.spatial(valid))
            with stopwatch("wait"):
                self.order.acquire()
            try:
                with torch.inference_mode():
                    done, layers, told = self._enqueue(slot, pixels, keep, region, valid)
            except BaseException:
                self.device.synchronize()  # what was enqueued still uses the slot
                raise
            finally:
                self.order.release()
            with stopwatch("network"):
                done.synchronize()
            slot.on_device.clear()
            with stopwatch("write"):
                outer = region.shape[: -self.predictor.dims]
                arrays = {
                    name: [to_host(one, outer).copy() for one in parts] for name, parts in layers.items()
                }
            overflowed = "overflowed" in told and bool(told["overflowed"].any())
            remark = self.predictor.remark(overflowed=overflowed)
            return Computed(arrays, tuple(told["counts"].tolist()), remark)
        finally:
            self.free.put(slot)

    def _enqueue(
        self,
        slot: "_Slot",
        pixels: Tensor,
        keep: Tensor | None,
        region: Box,
        valid: NDArray[np.bool_] | None,
    ) -> tuple[Event, dict[str, list[Tensor]], dict[str, Tensor]]:
        """Give the device all work of a block; what comes back is there once the event is."""
        with self.upload:
            on_device = slot.uploaded("pixels", pixels)
            kept = None if keep is None else slot.uploaded("keep", keep)
            copied = self.upload.record()
        self.compute.wait(copied)
        with self.compute:
            found, noted = self.predictor.layers(on_device, kept, region, valid)
            computed = self.compute.record()
        # The device must keep them until they are copied, whatever becomes of them here.
        slot.on_device += [*(one for parts in found.values() for one in parts), *noted.values()]
        self.download.wait(computed)
        with self.download:
            layers = {
                name: [slot.downloaded(f"{name}{level}", one) for level, one in enumerate(parts)]
                for name, parts in found.items()
            }
            told = {name: slot.downloaded(name, one) for name, one in noted.items()}
            return self.download.record(), layers, told


@dataclass(slots=True)
class _Slot:
    """Memory of one block under way: pinned, and on the device; it grows to the largest that is asked for."""

    device: Device
    pinned: dict[str, Tensor] = field(default_factory=dict)
    kept: dict[str, Tensor] = field(default_factory=dict)
    on_device: list[Tensor] = field(default_factory=list)

    def staged(self, name: str, values: NDArray[Any]) -> Tensor:
        """``values`` in pinned memory."""
        values = values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))
        dtype = torch.from_numpy(np.empty(0, values.dtype)).dtype
        memory = self._host(name, values.shape, dtype)
        np.copyto(memory.numpy(), values)
        return memory

    def uploaded(self, name: str, staged: Tensor) -> Tensor:
        """What ``staged`` gave, on the device, in memory that the slot keeps."""
        size = prod(staged.shape)
        if name not in self.kept or self.kept[name].numel() < size or self.kept[name].dtype != staged.dtype:
            self.kept[name] = self.device.empty((size,), staged.dtype)
        return self.device.upload(staged, self.kept[name][:size].view(staged.shape))

    def downloaded(self, name: str, tensor: Tensor) -> Tensor:
        """Pinned memory that will hold ``tensor``."""
        memory = self._host(name, tuple(tensor.shape), tensor.dtype)
        self.device.download(tensor, memory)
        return memory

    def _host(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        size = prod(shape)
        if name not in self.pinned or self.pinned[name].numel() < size or self.pinned[name].dtype != dtype:
            self.pinned[name] = self.device.pinned((size,), dtype)
        return self.pinned[name][:size].view(shape)


@contextmanager
def _turn(semaphore: threading.BoundedSemaphore, stopwatch: Stopwatch) -> Iterator[None]:
    with stopwatch("wait"):
        semaphore.acquire()
    try:
        yield
    finally:
        semaphore.release()
