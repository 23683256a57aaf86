"""Estimate: what a plan will cost, before anything runs. Imports no torch."""

from dataclasses import dataclass
from math import prod

import numpy as np

from unet_batch.cluster.config import packets_at_once
from unet_batch.inference.views import views
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.plan import Choice, Plan
from unet_batch.prediction.resources import (
    CACHE_BYTES,
    calls_at_once,
    canvas_bytes,
    network_bytes,
    threads,
    worker_count,
)
from unet_batch.tiling import ceil_div

LEDGER_BYTES = 20  # a block in the driver's memory, without its class counts


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to be expected; bytes are of decoded pixels.

    Attributes:
        blocks: blocks to compute (before any is skipped).
        tiles: network inputs.
        pixels: pixels to compute.
        margin: pixels computed for each pixel kept: the price of margins and of tiles past the edge.
        bytes_read: of the image, without margins.
        bytes_written: of the masks, all layers and levels.
        worker_bytes: peak memory of a worker.
        driver_bytes: ledger and plan in the driver.
        rate: pixels per second of all workers' networks, None where nothing was measured.
        hours: at that rate.
    """

    blocks: int
    tiles: int
    pixels: int
    margin: float
    bytes_read: int
    bytes_written: int
    worker_bytes: int
    driver_bytes: int
    rate: float | None
    hours: float | None

    @classmethod
    def of(cls, plan: Plan, config: PredictConfig, choice: Choice) -> "Estimate":
        """What ``plan`` costs with ``config``'s workers at the rate of ``choice``."""
        blocks = len(plan.blocks.numbers_in(plan.region))
        tiles = plan.tiles.count(plan.blocks, plan.region)
        pixels = plan.region.size
        rate = choice.rate and choice.rate * max(1, worker_count(config)) / _passes(plan)
        classes = plan.spec.out_channels
        return cls(
            blocks=blocks,
            tiles=tiles,
            pixels=pixels,
            margin=tiles * prod(plan.input_shape[2:]) / pixels,
            bytes_read=pixels * len(plan.image.channels) * np.dtype(plan.image.dtype).itemsize,
            bytes_written=round(pixels * _bytes_per_pixel(plan) * _pyramid(plan)),
            worker_bytes=_worker_bytes(plan, config, choice),
            driver_bytes=len(plan.blocks) * (LEDGER_BYTES + 8 * classes),
            rate=rate,
            hours=pixels / rate / 3600 if rate else None,
        )


def _passes(plan: Plan) -> int:
    overlap = prod(t / s for t, s in zip(plan.grid.tile, plan.grid.step, strict=True))
    return round(len(views(plan.spec.dims, plan.compute.tta)) * len(plan.model.hashes) * overlap)


def _bytes_per_pixel(plan: Plan) -> int:
    spec, out = plan.spec, plan.output
    labels = {"multiclass": 1 if spec.out_channels <= 250 else 2, "multilabel": spec.out_channels}
    base = labels.get(spec.head, 4 * spec.out_channels)
    return base + out.probabilities * spec.out_channels + out.confidence


def _pyramid(plan: Plan) -> float:
    if plan.output.levels == 1:
        return 1.0
    return 1 / (1 - 0.5**plan.spec.dims)


def _worker_bytes(plan: Plan, config: PredictConfig, choice: Choice) -> int:
    grid, dims = plan.grid, plan.spec.dims
    block = prod(grid.block)
    hull = prod(b + x + y for b, x, y in zip(grid.block, grid.before, grid.after, strict=True))
    pixels = hull * plan.spec.in_channels * np.dtype(plan.image.dtype).itemsize
    count, workers = threads(config), worker_count(config)
    packets = packets_at_once(config.concurrency, count, on_gpu=choice.device == "cuda") if workers else 1
    blocks = ceil_div(len(plan.blocks.numbers_in(plan.region)), max(1, workers))
    calls = calls_at_once(plan, packets, count, blocks, max(1, workers))
    held = (2 * pixels + 2 * block * _bytes_per_pixel(plan)) * packets + canvas_bytes(plan) * (calls + 1)
    return held + CACHE_BYTES + calls * network_bytes(plan.spec, choice, plan.grid.tile[-dims:])
