import fcntl
import os

import pytest

from unet_batch.errors import OutputError, StoreBusyError
from unet_batch.ingestion.staging import staged


def store(path, text="{}"):
    path.mkdir()
    (path / "zarr.json").write_text(text)


def test_nothing_is_at_the_output_before_the_end(tmp_path):
    out = tmp_path / "deep" / "out.zarr"
    with staged(out, overwrite=False) as partial:
        (partial / "zarr.json").write_text("new")
        assert not out.exists()
    assert (out / "zarr.json").read_text() == "new"
    assert [p.name for p in out.parent.iterdir()] == ["out.zarr"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(tmp_path, error):
    def fail():
        with staged(tmp_path / "out.zarr", overwrite=False) as partial:
            (partial / "0").mkdir()
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_replaced(tmp_path):
    store(tmp_path / "out.zarr.partial", "old")
    with staged(tmp_path / "out.zarr", overwrite=False) as partial:
        assert list(partial.iterdir()) == []
        (partial / "zarr.json").write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_a_store_is_replaced_only_when_asked(tmp_path):
    store(tmp_path / "out.zarr", "old")
    with pytest.raises(OutputError, match="--overwrite"), staged(tmp_path / "out.zarr", overwrite=False):
        pass
    with pytest.raises(RuntimeError), staged(tmp_path / "out.zarr", overwrite=True):
        raise RuntimeError
    assert (tmp_path / "out.zarr" / "zarr.json").read_text() == "old"
    with staged(tmp_path / "out.zarr", overwrite=True) as partial:
        (partial / "zarr.json").write_text("new")
    assert (tmp_path / "out.zarr" / "zarr.json").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_is_no_store_is_never_removed(tmp_path, overwrite):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(OutputError, match="no Zarr store"), staged(tmp_path / "thesis", overwrite=overwrite):
        pass
    (tmp_path / "file").write_text("also work")
    with (
        pytest.raises(OutputError, match="a file is in the way"),
        staged(tmp_path / "file", overwrite=overwrite),
    ):
        pass
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["chapter.txt", "file", "thesis"]


def test_a_file_among_the_parents(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match="in the way"),
        staged(tmp_path / "file" / "out.zarr", overwrite=False),
    ):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="not writable"), staged(tmp_path / "out.zarr", overwrite=False):
        pass


def test_two_writers_of_one_output(tmp_path):
    partial = tmp_path / "out.zarr.partial"
    store(partial)
    folder = os.open(partial, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        with (
            pytest.raises(StoreBusyError, match="another process"),
            staged(tmp_path / "out.zarr", overwrite=False),
        ):
            pass
        assert (partial / "zarr.json").exists()
    finally:
        os.close(folder)
