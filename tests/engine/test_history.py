"""The history of runs is read whatever its lines hold."""

import pytest

from unet_batch.engine import history
from unet_batch.engine.history import RunRecord

HOSTILE = {
    "no UTF-8": b"\xff\xfe{}",
    "deep": b"[" * 100_000,
    "huge": b'{"host": "a", "started": 1, "pixels": ' + b"9" * 5000 + b"}",
    "large": b'{"host": "a", "started": 1, "seconds": 1' + b"0" * 400 + b"}",
    "endless": b'{"host": "a", "started": 1, "seconds": Infinity}',
    "no number": b'{"host": "a", "started": "x"}',
    "another shape": b"[1, 2]",
    "no host": b'{"started": 1}',
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_hostile_lines_are_left_out(tmp_path, line):
    (tmp_path / "ledger").mkdir()
    (tmp_path / history.FILE).write_bytes(line + b"\n")
    (tmp_path / history.NOW).write_bytes(line)
    record = RunRecord("host", 1.0, seconds=2.0, pixels=3, blocks={"done": 1}, pace=[(0.5, 3)])
    history.append(str(tmp_path), record)
    assert history.read(str(tmp_path)) == [record]
    assert history.current(str(tmp_path)) is None
