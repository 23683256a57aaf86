"""Whole or not at all: what a reader, a full disk, a kill and the next run find at a place."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from unet_batch import atomic
from unet_batch.atomic import atomic_file, atomic_path, atomic_write, is_scratch, publish, scratch_path, sweep
from unet_batch.errors import MissingError, OutputError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fail(scratch, error):
    scratch.write_text("torn")
    raise error


def test_content_takes_its_place_and_leaves_no_scratch(tmp_path):
    place = tmp_path / "a.json"
    atomic_write(place, "µ")
    assert place.read_bytes() == "µ".encode()
    atomic_write(place, b"new", fsync=False)
    with atomic_file(place) as file:
        file.write(b"newer")
        assert place.read_bytes() == b"new"
    assert place.read_bytes() == b"newer"
    assert names(tmp_path) == ["a.json"]


def test_permissions_are_those_asked_for(tmp_path):
    atomic_write(tmp_path / "key", "secret", mode=0o600)
    atomic_write(tmp_path / "page", "text")
    (tmp_path / "plain").write_text("")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert (tmp_path / "page").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, MissingError("x: not there")])
def test_an_error_leaves_the_old_content_and_passes_as_it_is(tmp_path, error):
    place = tmp_path / "a"
    place.write_text("old")
    with pytest.raises(error if isinstance(error, type) else type(error)), atomic_path(place) as scratch:
        fail(scratch, error)
    assert place.read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.ENOSPC, "disk or quota is full"),
        (errno.EACCES, "ask for write permission"),
        (errno.ENAMETOOLONG, "name is too long"),
        (errno.EIO, "check the disk"),
    ],
)
def test_what_the_file_system_refuses_is_one_line_with_a_cure(tmp_path, code, told):
    with pytest.raises(OutputError, match=told) as caught, atomic_path(tmp_path / "a"):
        raise OSError(code, os.strerror(code))
    assert str(caught.value).startswith(f"{tmp_path / 'a'}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_folder_and_things_in_the_way(tmp_path):
    with pytest.raises(OutputError, match="its folder does not exist"):
        atomic_write(tmp_path / "no" / "a", "")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file is in the way"):
        atomic_write(tmp_path / "file" / "a", "")
    (tmp_path / "folder" / "content").mkdir(parents=True)
    with pytest.raises(OutputError, match="in the way"):
        atomic_write(tmp_path / "folder", "")
    with pytest.raises(OutputError, match="a folder is in the way"), atomic_path(tmp_path / "folder") as new:
        new.mkdir()
    assert names(tmp_path) == ["file", "folder"]


def test_a_folder_is_published_whole(tmp_path):
    with atomic_path(tmp_path / "store") as new:
        (new / "c").mkdir(parents=True)
        (new / "c" / "0").write_bytes(b"1")
        assert not (tmp_path / "store").exists()
    assert (tmp_path / "store" / "c" / "0").read_bytes() == b"1"
    assert names(tmp_path) == ["store"]


def test_content_reaches_the_disk_before_its_name_and_the_folder_after(tmp_path, monkeypatch):
    done = []

    def fsync(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        done.append("folder" if path == tmp_path else "content")
        done.append((tmp_path / "a").exists())

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    atomic_write(tmp_path / "a", "x")
    assert done == ["content", False, "folder", True]
    done.clear()
    atomic_write(tmp_path / "b", "x", fsync=False)
    publish(tmp_path / "b", tmp_path / "c", fsync=False)
    assert done == []


def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path, monkeypatch):
    flush = os.fsync

    def fsync(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        flush(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    atomic_write(tmp_path / "a", "x")
    assert (tmp_path / "a").read_text() == "x"


def test_names_as_long_as_the_file_system_allows(tmp_path):
    for name in ("n" * 255, "ä" * 127, ".", "a\udcff"):
        place = tmp_path / name if name != "." else tmp_path / ".hidden"
        scratch = scratch_path(place)
        assert is_scratch(scratch.name)
        assert len(os.fsencode(scratch.name)) <= 255
        atomic_write(place, "x", fsync=False)
        assert place.read_text() == "x"
    assert not is_scratch("a.json")
    assert not is_scratch("masks.zarr.partial")


def test_the_next_run_sweeps_what_a_killed_writer_left(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from unet_batch.atomic import atomic_path
with atomic_path(Path({str(tmp_path)!r}, "a")) as scratch:
    scratch.write_text("torn")
    with atomic_path(Path({str(tmp_path)!r}, "b")) as folder:
        (folder / "c").mkdir(parents=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    (tmp_path / "mine.partial").write_text("")
    assert len(names(tmp_path)) == 3
    assert sweep(tmp_path) == 2
    assert names(tmp_path) == ["mine.partial"]
    assert sweep(tmp_path / "nothing") == 0
