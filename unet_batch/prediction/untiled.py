"""How far tiling moved the answers: random windows computed in one pass and compared with the tiled ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
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


@dataclass(frozen=True, slots=True)
class Difference:
    """Tiled against untiled.

    Attributes:
        windows: how many were compared.
        untiled_max_abs_diff: largest difference of a probability (or regression value).
        untiled_label_diff: share of pixels in the store whose label the untiled pass does not give.
    """

    windows: int
    untiled_max_abs_diff: float
    untiled_label_diff: float


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
    largest, unequal, compared = 0.0, 0, 0
    for window in _windows(plan, Ledger.open(path), windows, seed):
        seen = window.grow(plan.grid.before, plan.grid.after)
        inside = window.intersect(Box.of_shape(plan.image.shape))
        one_pass = predictor.one_pass(nodata.read(source, seen, inside)[0])
        one_pass = one_pass[(slice(None), *(slice(0, n) for n in inside.shape[-predictor.dims :]))]
        hull, _ = nodata.read(source, plan.tiles.read_box(inside), inside)
        largest = max(largest, float(np.abs(predictor.probabilities(hull, inside) - one_pass).max()))
        stored = masks.read(inside)
        labels = predictor.labels(one_pass).reshape(stored.shape)
        present = ~np.isnan(stored) if stored.dtype.kind == "f" else stored != masks.layout.fill
        unequal += int((present & ~np.isclose(labels, stored, atol=1e-4)).sum())
        compared += int(present.sum())
    masks.stamp({"untiled_max_abs_diff": largest})
    return Difference(windows, largest, unequal / max(1, compared))


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
