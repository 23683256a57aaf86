"""Locks of outputs: one holder at a time, also while lock files come and go; failures leave nothing."""

import errno
import multiprocessing
import os
import shutil

import pytest

from unet_batch.errors import OutputError, StoreBusyError
from unet_batch.store import lock as lock_module
from unet_batch.store.lock import OutputLock


def test_one_holder_and_nothing_left(tmp_path):
    out = tmp_path / "a.tif"
    with OutputLock.beside(out):
        with pytest.raises(StoreBusyError, match=rf"a\.tif: process {os.getpid()} on .* is writing it"):
            OutputLock.beside(out)
        OutputLock.beside(tmp_path / "b.tif").release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_a_killed_process_left_hinders_nobody(tmp_path):
    (tmp_path / ".a.tif.lock").write_text("{}")
    with OutputLock.beside(tmp_path / "a.tif"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["beside", "inside"])
def test_without_locks_nothing_is_left(tmp_path, monkeypatch, place):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock_module.fcntl, "flock", refuse)
    with pytest.raises(OutputError, match="this file system has no locks"):
        getattr(OutputLock, place)(tmp_path / "deep" / "er" / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("gone", ["file", "folder"])
def test_a_lock_whose_file_was_removed_before_it_was_taken_does_not_count(tmp_path, monkeypatch, gone):
    """Its former holder removes it between our open and our flock, as publishing and discarding do."""
    folder, flock, calls = tmp_path / "out" / "ledger", lock_module.fcntl.flock, []

    def late(descriptor, operation):
        if not calls:
            (folder / "lock").unlink() if gone == "file" else shutil.rmtree(tmp_path / "out")
        calls.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr(lock_module.fcntl, "flock", late)
    with OutputLock.inside(folder):
        assert len(calls) == 2
        with pytest.raises(StoreBusyError):
            OutputLock.inside(folder)


def test_processes_that_come_and_go_never_meet(tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        counts = pool.map(_enter, [tmp_path] * 3)
    assert sum(counts) > 0
    assert list(tmp_path.iterdir()) == []


def _enter(folder):
    """How often this process had the lock; the mark would be there if another had it too."""
    entered = 0
    for _ in range(2000):
        try:
            with OutputLock.beside(folder / "out"):
                (folder / "mark").touch(exist_ok=False)
                (folder / "mark").unlink()
                entered += 1
        except StoreBusyError:
            continue
    return entered
