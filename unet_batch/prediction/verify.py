"""Verify: whether a mask store holds what its ledger says. Reads checksums; computes only to repair."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from unet_batch import unsynced
from unet_batch.calls import checked
from unet_batch.engine.progress import Hooks
from unet_batch.errors import DamageError
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.remade import Models, remade_request
from unet_batch.prediction.request import Request
from unet_batch.prediction.run import predict
from unet_batch.store.journal import Entry, Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks import Masks

READERS = 4

Watch = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Attributes:
        ok: every done block is as it was written (after the repair, if there was one).
        pending: blocks that no run has settled yet.
        failed: blocks that were set aside.
        finished: whether the levels above those that blocks write were written, too.
        checked: blocks compared.
        bad_blocks: grid indices of blocks that differed or could not be read.
        bad_levels: levels above those that blocks write, with what is wrong with them.
        repaired: whether they were computed again.
    """

    ok: bool
    checked: int
    bad_blocks: tuple[tuple[int, ...], ...]
    bad_levels: tuple[str, ...]
    repaired: bool = False
    pending: int = 0
    failed: int = 0
    finished: bool = True

    @property
    def whole(self) -> bool:
        """Whether the store is as it was written and nothing is left to do: no block, no coarse level."""
        return self.ok and self.finished and not (self.pending or self.failed)


@checked
def verify(
    path: str | Path,
    *,
    repair: bool = False,
    image: str | Path | None = None,
    model: Models = (),
    config: PredictConfig | None = None,
    hooks: Hooks = Hooks(),
    watch: Watch = lambda *_: None,
) -> Verification:
    """Re-read every done block of the store at ``path`` and compare its checksum with the ledger's.

    Args:
        path: a mask store.
        repair: compute bad blocks again, and write the coarse levels anew.
        image: that the store was made from; None takes the one around a store at IMAGE/labels/NAME.
        model: checkpoint(s) of the store.
        config: where to repair, and settings that are to count instead of the recorded ones.
        hooks: to watch the repair.
        watch: called with blocks checked and blocks in all.

    Raises:
        MissingError, FormatError: no mask store there; for a repair, no image or checkpoint.
        InputError: blocks to repair, and no image or checkpoint given.
        PlanMismatchError: an image, checkpoint or setting that is not the store's.
        StoreBusyError: a repair while a run writes the store.
    """
    found = _check(path, watch)
    if found.ok or not repair:
        return found
    masks = Masks.open(path)
    request = remade_request(masks, image, model, config) if found.bad_blocks else None
    _repair(path, found.bad_blocks, request, hooks)
    left = _check(path, watch)
    return replace(left, bad_blocks=found.bad_blocks, bad_levels=found.bad_levels, repaired=True)


def _check(path: str | Path, watch: Watch) -> Verification:
    masks, ledger = Masks.open(path), Ledger.open(path)
    grid = masks.layout.blocks
    done = [tuple(int(i) for i in index) for index in ledger.with_status(Status.DONE)]

    def differs(index: tuple[int, ...]) -> bool:
        try:
            return masks.block_checksum(grid.box(index)) != ledger.entry(index).checksum
        except DamageError:
            return True

    bad = []
    with ThreadPoolExecutor(READERS) as pool:
        for count, (index, is_bad) in enumerate(zip(done, pool.map(differs, done), strict=True), start=1):
            if is_bad:
                bad.append(index)
            watch(count, len(done))
    levels = tuple(_bad_levels(masks))
    blocks = ledger.totals().blocks
    return Verification(
        not (bad or levels),
        len(done),
        tuple(bad),
        levels,
        pending=blocks[Status.PENDING],
        failed=blocks[Status.FAILED],
        finished=bool(masks.attributes.get("finished")),
    )


def _bad_levels(masks: Masks) -> Iterator[str]:
    """Levels that no block wrote and that are not what the level below gives; none before they are due."""
    for name, layer in masks.layers.items() if masks.attributes.get("finished") else ():
        for level in range(layer.written_levels, len(layer.levels)):
            try:
                if layer.coarse_differ(level, masks.layout.halve(name)):
                    yield f"{name} level {level}: is not what level {level - 1} gives"
            except DamageError as error:
                yield f"{name} level {level}: {error}"


def _repair(
    path: str | Path, bad: tuple[tuple[int, ...], ...], request: Request | None, hooks: Hooks
) -> None:
    with unsynced.collected(), Ledger.open(path, writable=True) as ledger:
        for index in bad:
            ledger.record(Entry(index, Status.PENDING))
        if request is None:
            Masks.open(path, writable=True).finish()
            unsynced.sync()
    if request is not None:
        predict(
            request.image.path, path, request.models, request.config, axes=request.image.axes, hooks=hooks
        )
