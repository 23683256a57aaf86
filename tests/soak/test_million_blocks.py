"""A million blocks through plan, schedule and ledger: time, and memory that stays flat (make soak)."""

import time
from dataclasses import dataclass

import psutil
import pytest

from tests.kept import keep
from unet_batch.cluster.config import ClusterConfig
from unet_batch.cluster.local import connect
from unet_batch.schedule import dask as by_dask
from unet_batch.schedule.events import Event
from unet_batch.store.journal import Entry, Status
from unet_batch.store.ledger import Ledger
from unet_batch.tiling import BlockGrid, Box


@dataclass(frozen=True)
class Nothing:
    """Work that ends at once: what is left is the cost of scheduling and recording."""

    def __call__(self, number: int) -> Event:
        return Event(number, "done", checksum=number, counts=(1, 2, 3))


def megabytes():
    return round(psutil.Process().memory_info().rss / 2**20)


@pytest.mark.soak
@pytest.mark.parametrize("side", [100, 320, 1000])
def test_blocks(tmp_path, side):
    began, before = time.monotonic(), megabytes()
    extents = (256, 256)
    shape = (256 * side, 256 * side)
    grid = BlockGrid(shape, extents)
    numbers = grid.z_order(grid.numbers_in(Box.of_shape(shape)))
    planned = time.monotonic()
    memory = []
    with (
        connect(ClusterConfig(workers=1, concurrency=2)) as client,
        Ledger.create(tmp_path, grid.counts, 3) as ledger,
    ):
        for done, event in enumerate(by_dask.run(client, Nothing(), map(int, numbers))):
            ledger.record(
                Entry(grid.at(event.number).index, Status.DONE, event.checksum, counts=event.counts)
            )
            if done % (len(numbers) // 10) == 0:
                memory.append(megabytes())
                ledger.flush()
        assert ledger.totals().blocks[Status.DONE] == len(numbers)
    result = {
        "blocks": len(numbers),
        "plan_seconds": round(planned - began, 2),
        "run_seconds": round(time.monotonic() - planned, 1),
        "blocks_per_second": round(len(numbers) / (time.monotonic() - planned)),
        "driver_mb_before": before,
        "driver_mb_by_tenths": memory,
    }
    keep("million_blocks", str(len(numbers)), **result)
    assert memory[-1] - memory[2] < 60, "driver memory grows with the blocks done"
