"""One suite that every executor passes, and what only Dask must do besides."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from unet_batch.cluster.config import ClusterConfig
from unet_batch.cluster.local import connect
from unet_batch.errors import OutputError, WorkerLostError
from unet_batch.schedule import dask as by_dask
from unet_batch.schedule import ladder, serial
from unet_batch.schedule.events import Event


@dataclass(frozen=True)
class Recorder:
    """Work that notes every try of a block in a folder; some blocks fail, some kill their worker."""

    folder: Path
    failing: frozenset[int] = frozenset()
    fail_once: frozenset[int] = frozenset()
    deadly: frozenset[int] = frozenset()
    seconds: float = 0.0

    def __call__(self, number: int) -> Event:
        tries = self.tries(number)
        (self.folder / f"{number}-{tries}-{os.getpid()}").touch()
        time.sleep(self.seconds)
        if number in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if number in self.failing or (number in self.fail_once and tries == 0):
            raise RuntimeError(f"block {number}\nis poison")
        return Event(number, "done", checksum=number * 7, counts=(number, 1))

    def tries(self, number: int) -> int:
        return len(list(self.folder.glob(f"{number}-*")))


@pytest.fixture(scope="module")
def client():
    with connect(ClusterConfig(workers=2, concurrency=2)) as client:
        yield client


@pytest.fixture(params=["serial", "dask"])
def execute(request):
    if request.param == "serial":
        return serial.run
    client = request.getfixturevalue("client")
    return lambda work, numbers, *rest: by_dask.run(client, work, numbers, *rest)


def never() -> bool:
    return False


def test_every_block_is_told_of_once(execute, tmp_path):
    events = list(execute(Recorder(tmp_path), range(50), never))
    assert sorted(event.number for event in events) == list(range(50))
    assert all(event.status == "done" and event.checksum == event.number * 7 for event in events)
    assert all(event.worker and event.seconds >= 0 for event in events)


def test_nothing_to_do(execute, tmp_path):
    assert list(execute(Recorder(tmp_path), [], never)) == []


def test_a_block_that_fails_once_is_tried_again(execute, tmp_path):
    work = Recorder(tmp_path, fail_once=frozenset({3, 7}))
    assert {event.status for event in execute(work, range(10), never)} == {"done"}
    assert work.tries(3) == work.tries(7) == 2
    assert work.tries(4) == 1


def test_a_poison_block_is_set_aside_with_its_error(execute, tmp_path):
    events = {e.number: e for e in execute(Recorder(tmp_path, failing=frozenset({5})), range(10), never)}
    assert events[5].status == "failed"
    assert events[5].error.startswith("RuntimeError: block 5 is poison (")
    assert {e.status for n, e in events.items() if n != 5} == {"done"}


def test_stop_ends_early_and_loses_no_event(execute, tmp_path):
    work, seen = Recorder(tmp_path, seconds=0.02), []
    for event in execute(work, range(2000), lambda: len(seen) >= 5):
        seen.append(event.number)  # noqa: PERF401 - stop() looks at it meanwhile
    assert 5 <= len(seen) < 2000
    assert {int(path.name.split("-")[0]) for path in tmp_path.iterdir()} == set(seen)


def test_dask_bounds_what_is_in_flight(client, tmp_path):
    bound = 4 + 2  # one for each thread, and one ready at each worker
    for _ in by_dask.run(client, Recorder(tmp_path), range(500)):
        assert len(client.futures) <= bound


def test_dask_tries_another_worker_before_it_gives_up(client, tmp_path):
    list(by_dask.run(client, Recorder(tmp_path, failing=frozenset({0})), range(4)))
    pids = [path.name.split("-")[2] for path in sorted(tmp_path.glob("0-*"))]
    assert len(pids) == 1 + len(ladder.LADDER)
    assert len(set(pids)) == 2


def test_dask_outlives_a_block_that_kills_its_worker(client, tmp_path):
    work = Recorder(tmp_path, deadly=frozenset({6}), seconds=0.01)
    events = {event.number: event for event in by_dask.run(client, work, range(30))}
    assert len(events) == 30
    assert events[6].status == "failed"
    assert "worker died" in events[6].error
    assert {event.status for number, event in events.items() if number != 6} == {"done"}


@dataclass(frozen=True)
class FullDisk:
    """Work of which one block finds the disk full while others are under way."""

    folder: Path

    def __call__(self, number: int) -> Event:
        (self.folder / f"begun-{number}").touch()
        if number == 0:
            deadline = time.monotonic() + 60
            while len(list(self.folder.iterdir())) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            raise OutputError("the disk is full")
        time.sleep(1)
        (self.folder / f"ended-{number}").touch()
        return Event(number, "done")


def test_dask_lets_blocks_under_way_end_before_it_gives_up(client, tmp_path):
    with pytest.raises(OutputError, match="full"):
        list(by_dask.run(client, FullDisk(tmp_path), range(40)))
    found = {
        kind: {f.name.partition("-")[2] for f in tmp_path.glob(f"{kind}-*")} for kind in ("begun", "ended")
    }
    assert len(found["begun"]) > 1
    assert found["begun"] == found["ended"] | {"0"}


@dataclass(frozen=True)
class Question:
    """Kills the workers that are asked, but for those after the first ``deadly`` tries."""

    folder: Path
    deadly: int

    def __call__(self) -> str:
        tries = len(list(self.folder.iterdir()))
        (self.folder / str(tries)).touch()
        if tries < self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return "answer"


def test_a_question_outlives_its_worker_and_ends_where_all_die(client, tmp_path):
    (tmp_path / "a").mkdir()
    assert by_dask.ask(client, Question(tmp_path / "a", deadly=1)) == "answer"
    (tmp_path / "b").mkdir()
    with pytest.raises(WorkerLostError, match="set smaller tiles"):
        by_dask.ask(client, Question(tmp_path / "b", deadly=9))
    assert len(list((tmp_path / "b").iterdir())) == 3
