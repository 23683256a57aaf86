"""How far tiling moved the answers: random windows computed in one pass and compared with the tiled ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.models.checkpoint import load_checkpoint
from unet_batch.models.declared import check_declared
from unet_batch.models.device import resolve_device
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.nodata import NoData
from unet_batch.prediction.plan import Plan
from unet_batch.prediction.predictor import Predictor
from unet_batch.prediction.remade import Models, remade_request
from unet_batch.prediction.resources import threads
from unet_batch.prediction.run import device_of
from unet_batch.prediction.status import plan_of
from unet_batch.store.image import Image
from unet_batch.store.journal import Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

# Of a probability, between equal pixels at other places of a call.
ROUNDING = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2}


@dataclass(frozen=True, slots=True)
class Difference:
    """Tiled against untiled.

    Attributes:
        windows: how many were compared.
        untiled_max_abs_diff: largest difference of a probability (or regression value).
        untiled_label_diff: share of pixels in the store whose label the untiled pass does not give.
        fault: why that is more than rounding where the plan claims exactness; empty where all is well.
    """

    windows: int
    untiled_max_abs_diff: float
    untiled_label_diff: float
    fault: str = ""


def compare_untiled(
    path: str | Path,
    windows: int,
    seed: int = 0,
    *,
    image: str | Path | None = None,
    model: Models = (),
    config: PredictConfig | None = None,
) -> Difference:
    """Compute random windows of the store at ``path`` in one pass each; keep the largest difference there.

    A window is as large as a tile and lies half a tile off, where 2^dims tiles meet.

    Image, checkpoints and device are the caller's, as in ``verify``.

    Raises:
        InputError: nothing is done yet, or no image or checkpoint given.
        MissingError: no image or checkpoint there.
        PlanMismatchError: an image, checkpoint or setting that is not the store's.
    """
    masks = Masks.open(path)
    plan, request = plan_of(masks), remade_request(masks, image, model, config)
    device = resolve_device(device_of(request.config, plan))
    runtime = plan.runtime(device, threads(request.config))
    predictor = Predictor(plan, request.models, runtime, 1, masks.layout.fill)
    source = _ChosenChannels(request.image, plan.image.channels)
    nodata = NoData.open(plan, request.image)
    largest, unequal, compared, scale = 0.0, 0, 0, 1.0
    for window in _windows(plan, Ledger.open(path), windows, seed):
        seen = window.grow(plan.grid.before, plan.grid.after)
        inside = window.intersect(Box.of_shape(plan.image.shape))
        one_pass = predictor.one_pass(nodata.read(source, seen, inside)[0])
        one_pass = one_pass[(slice(None), *(slice(0, n) for n in inside.shape[-predictor.dims :]))]
        hull, _ = nodata.read(source, plan.tiles.read_box(inside), inside)
        largest = max(largest, float(np.abs(predictor.probabilities(hull, inside) - one_pass).max()))
        if plan.spec.head == "regression":
            scale = max(scale, float(np.abs(one_pass).max()))
        stored = masks.read(inside)
        labels = predictor.labels(one_pass).reshape(stored.shape)
        present = ~np.isnan(stored) if stored.dtype.kind == "f" else stored != masks.layout.fill
        unequal += int((present & ~np.isclose(labels, stored, atol=1e-4)).sum())
        compared += int(present.sum())
    masks.stamp({"untiled_max_abs_diff": largest})
    rounding = ROUNDING[plan.compute.precision] * scale
    fault = ""
    if plan.exact and not largest <= rounding:
        cause = _cause(plan, request.models)
        fault = f"one untiled pass differs by {largest:.2g}, where rounding makes {rounding:.2g}; {cause}"
    return Difference(windows, largest, unequal / max(1, compared), fault)


def _cause(plan: Plan, models: Sequence[str]) -> str:
    """What is wrong with a network that is no more exact than this, with the margin measured."""
    if plan.spec.architecture != "exported":
        return "report this with the checkpoint"
    try:
        for path in models:
            check_declared(path, *load_checkpoint(Path(path)))
    except InputError as error:
        return str(error)
    return "its margin and multiple are as declared; run it with `precision: fp32`"


@dataclass(frozen=True, slots=True)
class _ChosenChannels:
    """An image seen through the channels that the network takes."""

    image: Image
    channels: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    def read(self, box: Box) -> NDArray[Any]:
        return self.image.read(box, self.channels)


def _windows(plan: Plan, ledger: Ledger, count: int, seed: int) -> list[Box]:
    done = ledger.with_status(Status.DONE)
    if not len(done):
        raise InputError(f"{ledger.folder.parent}: no block is done yet; run predict first")
    rng, grid = np.random.default_rng(seed), plan.tiles
    windows = []
    for row in rng.integers(len(done), size=count):
        tiles = grid.tiles(plan.blocks.box(done[row]))
        tile = tiles[int(rng.integers(len(tiles)))].write
        offset = tuple(
            t // 2 // m * m if start + t // 2 // m * m < n else 0
            for t, m, start, n in zip(grid.tile, grid.multiple, tile.start, grid.shape, strict=True)
        )
        windows.append(tile.shift(offset))
    return windows
