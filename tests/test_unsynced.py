"""What waits for the disk is synced at once, files before folders; a refusal is not forgotten."""

import errno
import os
import threading
from pathlib import Path

import pytest

from unet_batch import unsynced
from unet_batch.errors import OutputError


@pytest.fixture
def synced(monkeypatch):
    """Paths in the order in which they were synced."""
    done = []
    monkeypatch.setattr(os, "fsync", lambda number: done.append(Path(f"/proc/self/fd/{number}").readlink()))
    return done


def test_files_come_before_the_folders_that_name_them(tmp_path, synced):
    files = [tmp_path / "a" / str(row) / "0" for row in range(3)]
    with unsynced.collected():
        for file in files:
            file.parent.mkdir(parents=True)
            file.touch()
            unsynced.add(file, within=tmp_path)
        unsynced.sync()
        assert {*synced[:3]} == {*files}
        assert {*synced[3:]} == {tmp_path, tmp_path / "a", *(file.parent for file in files)}
        unsynced.sync()
        assert len(synced) == 8, "once is enough"


def test_nothing_is_kept_where_nobody_collects(tmp_path, synced):
    unsynced.add(tmp_path / "a")
    with unsynced.collected("none"):
        unsynced.add(tmp_path / "a")
        unsynced.sync()
    assert not synced


def test_a_file_that_is_gone_leaves_its_folder_to_sync(tmp_path, synced):
    with unsynced.collected():
        unsynced.add(tmp_path / "a")
        unsynced.sync()
    assert synced == [tmp_path]


def test_who_asks_after_a_refusal_is_refused_too(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "a").touch()
    with unsynced.collected():
        unsynced.add(tmp_path / "a")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            with pytest.raises(OutputError, match=r"a: .*[Ii]nput/output error"):
                unsynced.sync()
        with pytest.raises(OutputError):
            unsynced.sync()
    with unsynced.collected():
        unsynced.sync()


def test_who_syncs_meanwhile_waits_for_the_files_that_another_took(tmp_path, monkeypatch):
    (tmp_path / "a").touch()
    begun, may_end, done = threading.Event(), threading.Event(), []

    def slow(_):
        begun.set()
        may_end.wait(10)
        done.append("disk")

    monkeypatch.setattr(os, "fsync", slow)
    with unsynced.collected():
        unsynced.add(tmp_path / "a")
        first = threading.Thread(target=unsynced.sync)
        first.start()
        begun.wait(10)
        second = threading.Thread(target=lambda: (unsynced.sync(), done.append("second")))
        second.start()
        may_end.set()
        first.join()
        second.join()
    assert done[-1] == "second"
