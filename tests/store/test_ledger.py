"""The ledger: totals, replay after a death at any byte, one driver at a time."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unet_batch.errors import FormatError, MissingError, OutputError, StoreBusyError
from unet_batch.store import lock as lock_module
from unet_batch.store.journal import _NAMES, Entry, Journal, Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.ledger_head import ARRAYS

GRID = (3, 130)
CLASSES = 2


def entry(number: int, **changes: object) -> Entry:
    values = {
        "index": (number % 3, number % 130),
        "status": Status.DONE,
        "checksum": 2**32 - 1 - number,
        "seconds": number / 4,
        "counts": (number, 2 * number),
        "time": 1000.0 + number,
    }
    return Entry(**{**values, **changes})  # type: ignore[arg-type]


def state(ledger: Ledger) -> tuple:
    recorded = [tuple(int(i) for i in index) for index in ledger.with_status(*list(Status)[1:])]
    return ledger.statuses.tobytes(), ledger.totals(), [ledger.entry(index) for index in recorded]


entries = st.builds(
    Entry,
    index=st.tuples(st.integers(0, 2), st.integers(0, 129)),
    status=st.sampled_from(Status),
    checksum=st.integers(0, 2**32 - 1),
    seconds=st.integers(0, 1000).map(lambda n: n / 4),
    counts=st.just(()) | st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)),
    time=st.integers(1, 10**9).map(float),
    error=st.text(max_size=5),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(st.just("flush") | entries, max_size=8))
def test_any_records_are_found_again(tmp_path_factory, records):
    root = tmp_path_factory.mktemp("ledger")
    last: dict[tuple[int, ...], Entry] = {}
    with Ledger.create(root, GRID, CLASSES) as ledger:
        for record in records:
            if isinstance(record, str):
                ledger.flush()
                continue
            ledger.record(record)
            last[record.index] = record
        assert state(Ledger.open(root)) == state(ledger)
        before = state(ledger)
    ledger = Ledger.open(root)
    assert state(ledger) == before
    totals = ledger.totals()
    assert totals.seconds == sum(e.seconds for e in last.values())
    assert totals.pixels == sum(sum(e.counts) for e in last.values())
    assert sum(totals.blocks.values()) == 3 * 130
    assert len(ledger.pending()) == totals.blocks[Status.PENDING]


def test_a_death_at_any_byte_keeps_what_was_recorded(tmp_path):
    root = tmp_path / "m"
    ledger = Ledger.create(root, GRID, CLASSES)
    states, ends = [state(ledger)], [0]
    file = root / "ledger" / "journal.jsonl"
    for number in range(4):
        ledger.record(entry(number))
        states.append(state(ledger))
        ends.append(file.stat().st_size)
    written = file.read_bytes()
    for length in range(len(written) + 1):
        file.write_bytes(written[:length])
        kept = sum(end <= length for end in ends) - 1
        assert Journal(file).read() == ([entry(number) for number in range(kept)], [])
        if min(abs(length - end) for end in ends) <= 1:
            assert state(Ledger.open(root)) == states[kept]


def test_a_torn_line_does_not_spoil_the_next_record(tmp_path):
    root = tmp_path / "m"
    ledger = Ledger.create(root, GRID, CLASSES)
    ledger.record(entry(1))
    ledger.record(entry(2))
    journal = root / "ledger" / "journal.jsonl"
    torn = journal.read_bytes()[:-9]
    ledger.close()
    journal.write_bytes(torn)
    again = Ledger.open(root, writable=True)
    again.record(entry(3))
    assert {tuple(i) for i in Ledger.open(root).with_status(Status.DONE).tolist()} >= {(1, 1), (0, 3)}
    again.close()


def test_a_death_between_arrays_and_journal_counts_once(tmp_path, monkeypatch):
    root = tmp_path / "m"
    ledger = Ledger.create(root, GRID, CLASSES)
    ledger.record(entry(5))
    before = state(ledger)
    monkeypatch.setattr(ledger._journal, "empty", lambda: None)
    ledger.flush()
    assert state(Ledger.open(root)) == before


def test_unreadable_journal_lines_are_left_out(tmp_path):
    root = tmp_path / "m"
    Ledger.create(root, GRID, CLASSES).close()
    good = {"index": [0, 1], "status": 1, "checksum": 1, "seconds": 1, "counts": [1, 2]}
    good |= {"time": 1, "worker": "", "error": ""}
    bad = [b"\xff\xfe", b"[]", b"null", b"{}"]
    changes = [{"index": [9, 9]}, {"index": [0]}, {"status": 7}, {"counts": [1]}, {"index": 3}]
    bad += [json.dumps(good | change).encode() for change in changes]
    (root / "ledger/journal.jsonl").write_bytes(b"\n".join([*bad, json.dumps(good).encode(), b""]))
    assert Ledger.open(root).totals().blocks[Status.DONE] == 1


def written(root):
    """A ledger of some blocks, and what is in it."""
    with Ledger.create(root, GRID, CLASSES) as ledger:
        for number in range(9):
            ledger.record(entry(number))
        ledger.flush()
        return state(ledger)


@pytest.mark.parametrize("place", ["zarr.json", *(f"{name}/zarr.json" for name in ARRAYS)])
@pytest.mark.parametrize("harm", ["empty", "gone", "garbage", "other"])
def test_damaged_metadata_cost_nothing(tmp_path, place, harm):
    before, file = written(tmp_path), tmp_path / "ledger" / place
    whole = file.read_text()
    if harm == "gone":
        file.unlink()
    else:
        other = whole.replace("3", "4").replace('"separator": "/"', '"separator": "."')
        file.write_bytes({"empty": b"", "garbage": b"{\xff{", "other": other.encode()}[harm])
    assert state(Ledger.open(tmp_path))[0] == before[0]
    with Ledger.open(tmp_path, writable=True) as ledger:
        assert state(ledger)[2] == before[2]
        assert len(ledger.damage) == 1
    ledger = Ledger.open(tmp_path)
    assert not ledger.damage
    assert state(ledger)[2] == before[2]


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "gone"])
def test_a_damaged_chunk_is_set_aside_and_its_blocks_are_open_again(tmp_path, name, harm):
    written(tmp_path)
    file = next(path for path in (tmp_path / "ledger" / name / "c").rglob("*") if path.is_file())
    data = bytearray(file.read_bytes())
    if harm == "gone":
        file.unlink()
    else:
        data[len(data) // 2] ^= 16
        file.write_bytes({"flip": data, "cut": data[:-3], "empty": b""}[harm])
    assert Ledger.open(tmp_path).totals().blocks[Status.DONE] == 0
    with Ledger.open(tmp_path, writable=True) as ledger:
        assert f"its {name} is damaged: {3 * 128} blocks are open again" in ledger.damage[0]
        ledger.record(entry(1))
        assert ledger.totals().pixels == 3
    assert (harm == "gone") or [*(tmp_path / "ledger/damaged").glob(f"{name}-*")]
    ledger = Ledger.open(tmp_path)
    assert not ledger.damage
    assert ledger.totals().blocks[Status.DONE] == 1
    assert ledger.totals().pixels == 3


def test_any_flipped_bit_of_the_journal_costs_one_line_at_most(tmp_path):
    ledger = Ledger.create(tmp_path, GRID, CLASSES)
    for number in range(3):
        ledger.record(entry(number))
    file, whole = ledger._journal.file, ledger._journal.file.read_bytes()
    known = [entry(number) for number in range(3)]
    for bit in range(0, 8 * len(whole), 5):
        torn = bytearray(whole)
        torn[bit // 8] ^= 1 << bit % 8
        file.write_bytes(torn)
        entries, damaged = Journal(file).read()
        assert len(entries) >= 1
        assert all(one in known for one in entries)
        assert len(entries) + len(damaged) >= 2
    file.write_bytes(whole[:40] + b"9" + whole[41:])
    ledger._lock.release()
    with Ledger.open(tmp_path, writable=True) as again:
        assert again.damage == ["1 lines of its journal are damaged: their blocks are open again"]
        assert again.totals().blocks[Status.DONE] == 2
    assert (tmp_path / "ledger/damaged/journal.jsonl").read_bytes().count(b"\n") == 1


HOSTILE = [b'{"index":[0,1],"status":1,"checksum":' + b"9" * 5000 + b"}", b"[" * 100_000, b"\xff\xfe"]
OLD = '{"index":[0,1],"status":1,"checksum":1,"seconds":%s,"counts":[%s],"time":1,"worker":"","error":""}'
HOSTILE += [(OLD % ("1e999", "")).encode(), (OLD % ("1", "-1,1")).encode()]


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: line[:12].decode(errors="replace"))
def test_hostile_journal_lines_are_set_aside(tmp_path, line):
    written(tmp_path)
    (tmp_path / "ledger/journal.jsonl").write_bytes(line + b"\n")
    with Ledger.open(tmp_path, writable=True) as ledger:
        assert len(ledger.damage) == 1
        assert ledger.totals().blocks[Status.DONE] == 9


def test_a_ledger_of_an_older_version_goes_on(tmp_path):
    before = written(tmp_path)
    group = tmp_path / "ledger/zarr.json"
    values = json.loads(group.read_text())
    values["attributes"]["ledger"] = {"first": 1000.0, "last": 1008.0}
    group.write_text(json.dumps(values))
    old = dict(zip(_NAMES, dataclasses.astuple(entry(9)), strict=True))
    (tmp_path / "ledger/journal.jsonl").write_text(json.dumps(old) + "\n")
    ledger = Ledger.open(tmp_path)
    assert not ledger.damage
    assert ledger.totals().blocks[Status.DONE] == 10
    assert set(before[2]) < set(state(ledger)[2])
    Ledger.open(tmp_path, writable=True).close()
    assert Ledger.open(tmp_path).totals() == ledger.totals()


def test_failures_are_logged_on_one_line_each(tmp_path):
    with Ledger.create(tmp_path, GRID, CLASSES) as ledger:
        ledger.record(entry(4, status=Status.FAILED, worker="w1", error="out\nof memory", time=0.0))
        assert ledger.status((1, 4)) is Status.FAILED
        assert ledger.totals().first_time > 10**9
    log = (tmp_path / "ledger/failures.log").read_text()
    assert log.count("\n") == 1
    assert "block 1,4 worker w1 out of memory" in log


def test_records_that_do_not_fit_are_refused(tmp_path):
    with Ledger.create(tmp_path, GRID, CLASSES) as ledger:
        for wrong in [{"index": (3, 0)}, {"index": (0,)}, {"counts": (1, 2, 3)}, {"index": (-1, 0)}]:
            with pytest.raises(ValueError, match="does not fit"):
                ledger.record(entry(0, **wrong))
        assert ledger.totals().blocks[Status.DONE] == 0


def test_the_arrays_are_a_picture_of_the_run(tmp_path):
    with Ledger.create(tmp_path, GRID, CLASSES) as ledger:
        ledger.record(entry(129))
    group = zarr.open_group(tmp_path / "ledger", mode="r")
    for name, dtype in [("status", "uint8"), ("checksum", "uint32"), ("seconds", "float32")]:
        assert (group[name].dtype, group[name].shape) == (dtype, GRID)
    assert (group["counts"].dtype, group["counts"].shape) == ("uint64", (*GRID, CLASSES))
    assert group["status"][0, 129] == Status.DONE
    np.testing.assert_array_equal(group["counts"][0, 129], (129, 258))


def test_a_second_driver_is_refused_and_told_who_writes(tmp_path):
    Ledger.create(tmp_path, GRID, CLASSES).close()
    code = (
        "import sys; from unet_batch.store.ledger import Ledger;"
        "ledger = Ledger.open(sys.argv[1], writable=True);"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"held\n"
        with pytest.raises(StoreBusyError, match=f"process {driver.pid} on "):
            Ledger.open(tmp_path, writable=True)
        Ledger.open(tmp_path)
        driver.kill()
    Ledger.open(tmp_path, writable=True).close()


def test_the_lock_is_released_when_opening_fails(tmp_path):
    Ledger.create(tmp_path, GRID, CLASSES).close()
    with pytest.raises(OutputError, match="exists already"):
        Ledger.create(tmp_path, GRID, CLASSES)
    head = tmp_path / "ledger/zarr.json"
    kept = head.read_text()
    head.write_text("{}")
    (tmp_path / "ledger/counts").rename(tmp_path / "away")
    with pytest.raises(FormatError, match="broken ledger metadata; restore the folder"):
        Ledger.open(tmp_path, writable=True)
    (tmp_path / "away").rename(tmp_path / "ledger/counts")
    head.write_text(kept)
    ledger = Ledger.open(tmp_path, writable=True)
    with pytest.raises(StoreBusyError, match=f"process {os.getpid()} on "):
        Ledger.open(tmp_path, writable=True)
    ledger.close()
    ledger.close()


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock_module.fcntl, "flock", refuse)
    with pytest.raises(OutputError, match="no locks"):
        Ledger.create(tmp_path, GRID, CLASSES)


def test_a_full_disk_is_an_output_error(tmp_path, monkeypatch):
    ledger = Ledger.create(tmp_path, GRID, CLASSES)
    ledger.record(entry(1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="full; free space"):
        ledger.record(entry(2))
    monkeypatch.undo()
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="full; free space"):
        ledger.flush()
    monkeypatch.undo()
    ledger.close()
    assert Ledger.open(tmp_path).totals().blocks[Status.DONE] == 1


def test_no_ledger(tmp_path):
    with pytest.raises(MissingError, match="no ledger"):
        Ledger.open(tmp_path)
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger/zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(FormatError, match="broken ledger"):
        Ledger.open(tmp_path)
