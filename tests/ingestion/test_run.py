import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from tests.formats.foreign_files import KINDS, pixels, sample
from tests.worlds import shard_hashes
from unet_batch.config import validate
from unet_batch.engine.progress import Hooks
from unet_batch.errors import ConfigError, FormatError, InputError, OutputError, PlanMismatchError
from unet_batch.ingestion import run
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.info import info
from unet_batch.ingestion.run import ingest
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageWriter
from unet_batch.tiling.box import Box

SMALL = IngestConfig(block=32, chunk=16, workers=2)


@pytest.fixture
def source(tmp_path):
    """An RGB TIFF of 2 x 3 blocks by SMALL, with an odd last one each way."""
    folder = tmp_path / "in"
    folder.mkdir()
    tifffile.imwrite(
        folder / "a.tif", pixels((57, 85, 3)), photometric="rgb", tile=(16, 16), compression="zstd"
    )
    return folder / "a.tif"


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "a.zarr"


def whole(path, level=0):
    image = Image.open(path, level=level)
    return image.read(Box.of_shape(image.shape))


@pytest.mark.parametrize("kind", ["strips", "ome", "ome-volume", "numpy", "png", "bits", "selected"])
def test_pixels_arrive_unchanged(kind, tmp_path, out):
    foreign = KINDS[kind]
    config = IngestConfig(**foreign.config.model_dump(), block=32, workers=2)
    summary = ingest(foreign.make(tmp_path), out, config)
    image = Image.open(out)
    np.testing.assert_array_equal(whole(out), foreign.expected)
    assert (image.axes, image.dtype) == (foreign.axes, foreign.expected.dtype)
    assert (summary.axes, summary.pixels) == (foreign.axes, foreign.expected[0].size)


def test_the_pyramid_is_written(source, out):
    ingest(source, out, SMALL.model_copy(update={"levels": 3}))
    image = Image.open(out)
    assert [level.shape for level in image.levels] == [(57, 85), (29, 43), (15, 22)]
    means = whole(out)[:, :56, :84].reshape(3, 28, 2, 42, 2).mean((2, 4))
    assert np.abs(whole(out, 1)[:, :28, :42].astype(float) - means).max() <= 1


def test_threads_give_what_the_plain_loop_gives(source, tmp_path):
    for workers in (0, 3):
        ingest(source, tmp_path / str(workers), SMALL.model_copy(update={"workers": workers}))
    plain, threaded = (Image.open(tmp_path / workers) for workers in "03")
    assert plain.identity() == threaded.identity()
    for level in range(len(plain.levels)):
        np.testing.assert_array_equal(whole(tmp_path / "0", level), whole(tmp_path / "3", level))


def test_progress_counts_every_block_and_pixel(source, out):
    calls = []
    ingest(source, out, SMALL, hooks=Hooks(lambda event, progress: calls.append((event, progress))))
    assert [progress.blocks_done for event, progress in calls if event] == [1, 2, 3, 4, 5, 6]
    assert (calls[-1][1].blocks_total, calls[-1][1].pixels) == (6, 57 * 85)


def test_what_the_settings_say_goes_before_what_the_file_says(source, out):
    config = SMALL.model_copy(
        update={"pixel_size": 0.25, "unit": "nanometer", "nodata": 7.0, "channels": (2, 0)}
    )
    summary = ingest(source, out, config)
    image = Image.open(out)
    assert (image.pixel_size, image.unit, image.nodata) == ({"y": 0.25, "x": 0.25}, "nanometer", 7)
    assert image.channel_names == ("blue", "red")
    assert (summary.pixel_size, summary.unit, summary.nodata) == ({"y": 0.25, "x": 0.25}, "nanometer", 7)


def test_a_pixel_size_of_an_axis_that_is_not_there_leaves_nothing(source, out):
    with pytest.raises(InputError, match="pixel_size"):
        ingest(source, out, SMALL.model_copy(update={"pixel_size": {"z": 1.0}}))
    assert list(out.parent.iterdir()) == []


def test_a_whole_slide(out):
    path = sample("d_wsi/CMU-1-Small-Region.svs")
    ingest(path, out, IngestConfig(block=1024))
    np.testing.assert_array_equal(whole(out), tifffile.imread(path).transpose(2, 0, 1))
    assert Image.open(out).pixel_size == {"y": 0.499, "x": 0.499}


def test_an_existing_output_is_refused_before_reading(out, tmp_path):
    ingest(KINDS["numpy"].make(tmp_path), out, SMALL)
    with pytest.raises(OutputError, match="--overwrite"):
        ingest(tmp_path / "no such file", out, SMALL)


def test_damage_found_on_the_way_leaves_nothing(source, out, monkeypatch):
    content = bytearray(source.read_bytes())
    with tifffile.TiffFile(source) as file:
        offset = file.pages[0].dataoffsets[9]
    content[offset : offset + 16] = b"\0" * 16
    source.write_bytes(content)
    monkeypatch.setattr(run, "probe", lambda path, config: None)  # as if only its corners had been read
    with pytest.raises(FormatError, match="cannot be decoded"):
        ingest(source, out, SMALL)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_after_a_full_disk_the_next_run_goes_on(source, out, monkeypatch, workers):
    config, written = SMALL.model_copy(update={"workers": workers}), written_blocks(monkeypatch)
    with monkeypatch.context() as patch:
        write = ImageWriter.write_block

        def full(self, box, data):
            if len(written) > 2:
                raise OutputError(errno.ENOSPC, "the disk is full")
            return write(self, box, data)

        patch.setattr(ImageWriter, "write_block", full)
        with pytest.raises(OutputError, match="disk is full"):
            ingest(source, out, config)
    assert [p.name for p in out.parent.iterdir()] == ["a.zarr.partial"]
    assert ingest(source, out, config).finished
    assert [p.name for p in out.parent.iterdir()] == ["a.zarr"]
    np.testing.assert_array_equal(whole(out), tifffile.imread(source).transpose(2, 0, 1))
    assert len(written) <= 6 + workers + 1


def written_blocks(monkeypatch):
    """The blocks that are written from now on."""
    write, boxes = ImageWriter.write_block, []

    def counted(self, box, data):
        found = write(self, box, data)
        boxes.append(box)
        return found

    monkeypatch.setattr(ImageWriter, "write_block", counted)
    return boxes


def stop_after(count):
    seen = []
    return Hooks(lambda event, _: seen.append(event) if event else None, lambda: len(seen) >= count)


def test_a_stopped_ingest_goes_on_and_gives_the_same_bytes(source, out, tmp_path, monkeypatch):
    serial = SMALL.model_copy(update={"workers": 0})
    ingest(source, tmp_path / "at_once.zarr", serial)
    written = written_blocks(monkeypatch)
    found = ingest(source, out, serial, hooks=stop_after(2))
    assert not found.finished
    assert not out.exists()
    assert ingest(source, out, serial).finished
    assert len(written) == len(set(written)) == 6
    assert shard_hashes(out) == shard_hashes(tmp_path / "at_once.zarr")
    assert (out / "zarr.json").read_bytes() == (tmp_path / "at_once.zarr" / "zarr.json").read_bytes()


def test_another_file_or_other_settings_are_refused_unless_to_overwrite(source, out):
    serial = SMALL.model_copy(update={"workers": 0})
    ingest(source, out, serial, hooks=stop_after(2))
    with pytest.raises(PlanMismatchError, match=r"settings\.unit: nanometer, not None.*--overwrite"):
        ingest(source, out, serial.model_copy(update={"unit": "nanometer"}))
    os.utime(source)
    with pytest.raises(PlanMismatchError, match=r"source\.modified_ns"):
        ingest(source, out, serial)
    assert ingest(source, out, serial.model_copy(update={"overwrite": True})).finished
    assert [p.name for p in out.parent.iterdir()] == ["a.zarr"]


def test_a_killed_ingest_leaves_no_output_and_is_resumed(source, out, monkeypatch):
    script = (
        "import sys, time\n"
        "from unet_batch.engine.progress import Hooks\n"
        "from unet_batch.ingestion.config import IngestConfig\n"
        "from unet_batch.ingestion.run import ingest\n"
        "def stop(event, progress):\n"
        "    if progress.blocks_done == 4: print(flush=True); time.sleep(60)\n"
        "config = IngestConfig(block=32, chunk=16, workers=0)\n"
        "ingest(*sys.argv[1:], config, hooks=Hooks(stop))"
    )
    with subprocess.Popen([sys.executable, "-c", script, source, out], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    assert sorted(p.name for p in out.parent.iterdir()) == [".a.zarr.lock", "a.zarr.partial"]
    written = written_blocks(monkeypatch)
    ingest(source, out, SMALL)
    assert len(written) == 2
    assert [p.name for p in out.parent.iterdir()] == ["a.zarr"]
    np.testing.assert_array_equal(whole(out), tifffile.imread(source).transpose(2, 0, 1))


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_is_no_store_is_never_removed(source, tmp_path, overwrite):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    config = SMALL.model_copy(update={"overwrite": overwrite})
    with pytest.raises(OutputError, match="no Zarr store"):
        ingest(source, tmp_path / "thesis", config)
    (tmp_path / "file").write_text("also work")
    for out in ("file", "file/out.zarr"):
        with pytest.raises(OutputError, match="in the way"):
            ingest(source, tmp_path / out, config)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "also work"


def test_a_store_is_replaced_only_when_asked(source, out):
    ingest(source, out, SMALL)
    before = (out / "zarr.json").stat().st_ino
    with pytest.raises(OutputError, match="--overwrite"):
        ingest(source, out, SMALL)
    assert (out / "zarr.json").stat().st_ino == before
    ingest(source, out, SMALL.model_copy(update={"overwrite": True, "levels": 1}))
    assert len(Image.open(out).levels) == 1
    assert [p.name for p in out.parent.iterdir()] == ["a.zarr"]


def test_folders_above_the_output_are_made(source, tmp_path):
    ingest(source, tmp_path / "deep" / "er" / "a.zarr", SMALL)
    assert [p.name for p in (tmp_path / "deep" / "er").iterdir()] == ["a.zarr"]


def test_info_tells_the_same_of_a_file_and_of_its_image(source, out):
    ingest(source, out, SMALL)
    before, after = info(source), info(out)
    for key in ("axes", "shape", "channels", "channel_names", "dtype", "bytes", "nodata"):
        assert before[key] == after[key]
    assert (before["kind"], after["kind"]) == ("TIFF", "Zarr")
    assert before["bytes"] == 57 * 85 * 3


@pytest.mark.parametrize(
    "values",
    [
        {"axes": "yyx"},
        {"axes": "zy"},
        {"channels": []},
        {"channels": [1, 1]},
        {"block": 0},
        {"block": [4]},
        {"levels": 0},
        {"pixel_size": -1},
        {"speed": 3},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        validate(IngestConfig, values, "here")


def test_nothing_heavy_is_imported_for_settings():
    script = (
        "import sys, unet_batch.ingestion.config; "
        "print({'torch', 'zarr', 'tifffile', 'PIL'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert found.stdout.strip() == "set()"
