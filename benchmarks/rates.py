"""How fast a prediction runs from store to store, and how fast its network runs alone."""

import multiprocessing
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf, prod
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from unet_batch.cluster.config import packets_at_once
from unet_batch.engine.progress import Hooks, Progress
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.plan import Plan
from unet_batch.prediction.resources import calls_at_once, threads
from unet_batch.prediction.run import predict
from unet_batch.prediction.status import plan_of
from unet_batch.schedule.events import Event
from unet_batch.store.masks import Masks

STAGES = ("read", "wait", "network", "write")


@dataclass(slots=True)
class Run:
    """One call of ``predict``, seen by its driver.

    The steady state is what follows the first finished blocks, one for each of the network's calls
    ``at_once``: workers are up and the network is compiled. From the end of the last of these to that of the
    last block of all, the others have taken their whole turns, no more.
    """

    seconds: float = 0.0
    at_once: int = 1
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    decoded_bytes: int = 0
    needed_bytes: int = 0
    ready: float = inf

    def observe(self, event: Event | None, progress: Progress) -> None:
        """The hook that ``predict`` calls."""
        if event is None:
            return
        if len(self.arrivals) > self.begun:
            for stage, taken in event.stages.items():
                self.stages[stage] = self.stages.get(stage, 0.0) + taken
        now = time.perf_counter()
        self.ready = min(self.ready, now - sum(taken for k, taken in event.stages.items() if k != "open"))
        self.arrivals.append((now, progress.pixels))
        self.decoded_bytes += event.decoded_bytes
        self.needed_bytes += event.needed_bytes

    @property
    def begun(self) -> int:
        """Number of the block with whose end the steady state begins."""
        return self.at_once - 1

    @property
    def pixels(self) -> int:
        """Of all blocks."""
        return self.arrivals[-1][1]

    @property
    def steady(self) -> float:
        """Pixels per second in the steady state."""
        (began, before), (ended, after) = self.arrivals[self.begun], self.arrivals[-1]
        return (after - before) / (ended - began)

    @property
    def after_start(self) -> float:
        """Pixels per second of all blocks since the network was ready: few have no steady state."""
        return self.pixels / (self.arrivals[-1][0] - self.ready)

    @property
    def whole(self) -> float:
        """Pixels per second of the whole call: start of workers, trial, loading, all levels."""
        return self.pixels / self.seconds

    def stage_share(self) -> dict[str, float]:
        """Seconds of each stage per second of the steady state; stages of several packets overlap."""
        wall = self.arrivals[-1][0] - self.arrivals[self.begun][0]
        return {stage: round(self.stages.get(stage, 0.0) / wall, 3) for stage in STAGES}


def timed(image: Path, out: Path, model: Path, config: PredictConfig) -> Run:
    """Predict into the new store ``out``."""
    shutil.rmtree(out, ignore_errors=True)
    run = Run()

    def observe(event: Event | None, progress: Progress) -> None:
        if event is not None and not run.arrivals:
            run.at_once = at_once(plan_at(out), config, progress.blocks_total)
        run.observe(event, progress)

    began = time.perf_counter()
    predict(image, out, model, config, hooks=Hooks(observe=observe))
    run.seconds = time.perf_counter() - began
    return run


def at_once(plan: Plan, config: PredictConfig, blocks: int) -> int:
    """Network calls at once in the one worker; no more than leave blocks for a steady state."""
    count = threads(config)
    calls = calls_at_once(plan, packets_at_once(config.concurrency, count), count, blocks, workers=1)
    return max(1, min(calls, blocks - 1))


def plan_at(out: Path) -> Plan:
    """The plan of a store."""
    return plan_of(Masks.open(out))


def fixed(config: PredictConfig, plan: Plan) -> PredictConfig:
    """``config`` with what ``auto`` became, so that every run is the same and none tries again."""
    dims, part = plan.spec.dims, plan.compute
    return config.model_copy(
        update={
            "tile": plan.grid.tile[-dims:],
            "block": plan.grid.block[-dims:],
            "precision": part.precision,
            "backend": part.backend,
            "batch": part.batch,
        }
    )


class Forward(Protocol):
    """Pixels of output per second of the network alone, over at least so many seconds."""

    def __call__(self, seconds: float) -> float: ...


@contextmanager
def pure_forward(model: Path, plan: Plan, config: PredictConfig) -> Iterator[Forward]:
    """The network of ``plan`` in a process like a worker's, warm, called over and over on one input.

    By as many threads at once as in a worker.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    device = config.device if plan.compute.device == "cuda" else "cpu"
    process = context.Process(target=_serve, args=(theirs, model, plan, device, config), daemon=True)
    process.start()

    def ask(seconds: float) -> float:
        ours.send(seconds)
        return float(ours.recv())

    try:
        yield ask
    finally:
        ours.send(None)
        process.join()


def _serve(connection: Connection, model: Path, plan: Plan, device: str, config: PredictConfig) -> None:
    import torch  # noqa: PLC0415 - as a worker does, after its process has begun

    from unet_batch.models.checkpoint import load_checkpoint  # noqa: PLC0415 - imports torch
    from unet_batch.models.device import prepare, resolve_device  # noqa: PLC0415 - imports torch
    from unet_batch.models.feed import Feed  # noqa: PLC0415 - imports torch

    module, spec = load_checkpoint(model)
    calls = at_once(plan, config, len(plan.blocks.numbers_in(plan.region)))
    runtime = plan.runtime(resolve_device(device), threads(config), calls)
    network = prepare(module, spec, runtime, Feed(plan.input_shape))
    x = torch.randn(plan.input_shape, device=device)
    pixels = plan.compute.batch * prod(plan.grid.tile[-plan.spec.dims :])

    def rate(seconds: float) -> float:
        """Of one thread, which calls until the time is over and counts whole calls alone."""
        calls, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds or not calls:
            network(x)[..., -1].sum().item()  # .item() waits for the device
            calls += 1
        return calls * pixels / spent

    with ThreadPoolExecutor(network.calls) as pool:

        def all_at_once(seconds: float) -> float:
            return sum(pool.map(rate, [seconds] * network.calls))

        all_at_once(0.0)
        while (seconds := connection.recv()) is not None:
            connection.send(all_at_once(seconds))
