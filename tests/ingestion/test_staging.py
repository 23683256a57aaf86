import os
import subprocess
import sys

import pytest

from unet_batch.errors import OutputError, StoreBusyError
from unet_batch.ingestion.staging import staged
from unet_batch.store.group import MARK
from unet_batch.store.ledger import Ledger
from unet_batch.store.lock import OutputLock


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
    (tmp_path / "out.zarr.partial" / MARK).touch()
    with staged(tmp_path / "out.zarr", overwrite=False) as partial:
        assert [entry.name for entry in partial.iterdir()] == [MARK]
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
    with (
        OutputLock.beside(tmp_path / "out.zarr"),
        pytest.raises(StoreBusyError, match=f"process {os.getpid()} on"),
        staged(tmp_path / "out.zarr", overwrite=False),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["letter.txt", "zarr.json", "0/c/0/0"])
def test_what_only_bears_the_name_of_an_unfinished_store_stays(tmp_path, content):
    file = tmp_path / "out.zarr.partial" / content
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    with pytest.raises(OutputError, match="in the way"), staged(tmp_path / "out.zarr", overwrite=True):
        pass
    assert file.read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.zarr.partial"]


@pytest.mark.parametrize("inside", [".", "labels/cells"])
def test_finished_blocks_are_not_overwritten_by_the_way(tmp_path, inside):
    store(tmp_path / "out.zarr", "old")
    (tmp_path / "out.zarr" / inside).mkdir(parents=True, exist_ok=True)
    Ledger.create(tmp_path / "out.zarr" / inside, (2, 2), 1).close()
    with pytest.raises(OutputError, match="holds the blocks"), staged(tmp_path / "out.zarr", overwrite=True):
        pass
    assert (tmp_path / "out.zarr" / "zarr.json").read_text() == "old"
    assert Ledger.open(tmp_path / "out.zarr" / inside).grid_shape == (2, 2)


def test_an_output_that_another_program_wrote_meanwhile_stays(tmp_path):
    def meet():
        with staged(tmp_path / "out.zarr", overwrite=False) as partial:
            (partial / "zarr.json").write_text("new")
            store(tmp_path / "out.zarr", "theirs")

    with pytest.raises(OutputError, match="exists already"):
        meet()
    assert (tmp_path / "out.zarr" / "zarr.json").read_text() == "theirs"


@pytest.mark.parametrize("renames", [1, 2])
def test_a_kill_while_a_store_is_replaced_loses_neither(tmp_path, renames):
    """The process dies after so many renames of those that put the new store into the old one's place."""
    store(tmp_path / "out.zarr", "old")
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from unet_batch.ingestion.staging import staged\n"
        "rename, done = os.rename, []\n"
        "def counted(source, target):\n"
        "    rename(source, target)\n"
        "    done.append(target)\n"
        "    if len(done) == int(sys.argv[2]):\n"
        "        os._exit(9)\n"
        "with staged(Path(sys.argv[1]), overwrite=True) as partial:\n"
        "    (partial / 'zarr.json').write_text('new')\n"
        "    os.rename = os.replace = counted\n"
    )
    words = [sys.executable, "-c", script, tmp_path / "out.zarr", str(renames)]
    assert subprocess.run(words, check=False).returncode == 9
    with pytest.raises(RuntimeError), staged(tmp_path / "out.zarr", overwrite=True):
        raise RuntimeError
    assert (tmp_path / "out.zarr" / "zarr.json").read_text() == ("old" if renames == 1 else "new")
    with staged(tmp_path / "out.zarr", overwrite=True) as partial:
        (partial / "zarr.json").write_text("newest")
    assert (tmp_path / "out.zarr" / "zarr.json").read_text() == "newest"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.zarr"]
    assert [entry.name for entry in (tmp_path / "out.zarr").iterdir()] == ["zarr.json"]
