"""Ranks find those of their own round, whatever an earlier round left in the store."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import HashStore

from unet_batch.errors import RankError
from unet_batch.training.distributed import rendezvous

PATIENCE, SHORT = timedelta(seconds=120), timedelta(seconds=0.5)


def gathered(store, order, crowd):
    """What each rank finds where the first one left a word; they come in ``order``."""
    started = [crowd.submit(rendezvous, store, rank, len(order), PATIENCE) for rank in order]
    parts = dict(zip(order, (one.result() for one in started), strict=True))
    assert not any(part.check(["word"]) for part in parts.values()), "nobody was here before"
    parts[0].set("word", "hello")
    return [parts[rank].get("word") for rank in range(len(order))]


def test_rounds_after_each_other_do_not_mix():
    store = HashStore()
    with ThreadPoolExecutor(3) as crowd:
        for order in [(0, 1, 2), (2, 1, 0), (1, 0, 2)]:
            assert gathered(store, order, crowd) == [b"hello"] * 3


def test_a_rank_does_not_take_the_dead_for_the_living():
    store = HashStore()
    with ThreadPoolExecutor(2) as crowd:
        gathered(store, (0, 1), crowd)
    with pytest.raises(RankError, match="rank 1 of 2 did not come"):
        rendezvous(store, 0, 2, SHORT)
    with pytest.raises(RankError, match="did not come"):
        rendezvous(store, 1, 2, SHORT)


@pytest.fixture(autouse=True)
def _place(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
