"""Arrays: round trips, whole shards only, atomic replacement."""

import errno
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unet_batch.errors import DamageError, InputError, OutputError
from unet_batch.store import pipeline
from unet_batch.store.arrays import Array, create_array, open_array
from unet_batch.store.layout import ArrayLayout
from unet_batch.store.shard_file import SCRATCH
from unet_batch.tiling import BlockGrid, Box

COMPRESSIONS = ["zstd", "zstd:9", "blosc-lz4", "none"]
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shards(array: Array) -> list[Box]:
    return [block.box for block in BlockGrid(array.shape, array.shard)]


def write(array: Array, pixels: np.ndarray) -> None:
    for box in shards(array):
        array.write_shard(box, pixels[box.slices])


def small(path: Path, **changes: object) -> Array:
    layout = {"shape": (20, 30), "dtype": "uint8", "shard": (16, 16), "chunk": (8, 8), **changes}
    return create_array(path, ArrayLayout(**layout))  # type: ignore[arg-type]


@st.composite
def layouts(draw: st.DrawFn) -> ArrayLayout:
    ndim = draw(st.integers(1, 4))
    chunk = tuple(draw(st.integers(1, 4)) for _ in range(ndim))
    return ArrayLayout(
        shape=tuple(draw(st.integers(1, 9)) for _ in range(ndim)),
        dtype=draw(st.sampled_from(["uint8", "uint16", "int32", "float32"])),
        shard=tuple(c * draw(st.integers(1, 2)) for c in chunk),
        chunk=chunk,
        compression=draw(st.sampled_from(COMPRESSIONS)),
    )


@quick
@given(layout=layouts(), seed=st.integers(0, 1000), data=st.data())
def test_reads_what_was_written(tmp_path_factory, layout, seed, data):
    array = create_array(tmp_path_factory.mktemp("a"), layout)
    pixels = np.random.default_rng(seed).integers(0, 3, layout.shape).astype(layout.dtype)
    write(array, pixels)
    start = tuple(data.draw(st.integers(0, n)) for n in layout.shape)
    stop = tuple(data.draw(st.integers(a, n)) for a, n in zip(start, layout.shape, strict=True))
    box = Box(start, stop)
    for reader in (array, open_array(array.path), pickle.loads(pickle.dumps(array))):
        assert reader.read(box).dtype == pixels.dtype
        np.testing.assert_array_equal(reader.read(box), pixels[box.slices])
    np.testing.assert_array_equal(zarr.open_array(array.path, mode="r")[...], pixels)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_zarr_python_gives_the_same_pixels(tmp_path, monkeypatch, compression):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30)).astype("uint8")
    write(small(tmp_path / "with", compression=compression), pixels)
    monkeypatch.setattr(pipeline, "has_zarrs", lambda: False)
    write(small(tmp_path / "without", compression=compression), pixels)
    for name in ("with", "without"):
        array = open_array(tmp_path / name)
        assert not pipeline.uses_zarrs(array.zarray)
        np.testing.assert_array_equal(array.read(Box.of_shape((20, 30))), pixels)


def test_zarrs_reads_zstd_but_not_crc32c(tmp_path):
    pytest.importorskip("zarrs")
    assert pipeline.uses_zarrs(small(tmp_path / "zstd").zarray)
    assert not pipeline.uses_zarrs(small(tmp_path / "none", compression="none").zarray)


def test_only_whole_shards_of_the_right_kind_are_written(tmp_path):
    array = small(tmp_path / "a")
    part = Box((0, 0), (8, 16))
    with pytest.raises(ValueError, match="whole shard"):
        array.write_shard(part, np.zeros((8, 16), np.uint8))
    whole = Box((0, 0), (16, 16))
    with pytest.raises(ValueError, match="takes"):
        array.write_shard(whole, np.zeros((16, 16), np.int64))
    with pytest.raises(ValueError, match="takes"):
        array.write_shard(whole, np.zeros((16, 15), np.uint8))
    with pytest.raises(ValueError, match="past the shape"):
        array.read(Box((0, 0), (21, 30)))
    with pytest.raises(ValueError, match="past the shape"):
        array.read(Box((-1, 0), (1, 1)))


def test_a_shard_of_fill_has_no_file(tmp_path):
    array = small(tmp_path / "a", fill=255)
    box = Box((0, 0), (16, 16))
    assert not array.has_data(box)
    array.write_shard(box, np.zeros(box.shape, np.uint8))
    assert array.has_data(Box((3, 3), (4, 4)))
    assert not array.has_data(Box((16, 16), (20, 30)))
    array.write_shard(box, np.full(box.shape, 255, np.uint8))
    assert not (tmp_path / "a/c/0/0").exists()
    assert (array.read(box) == 255).all()


def test_a_torn_shard_is_refused_and_then_overwritten(tmp_path):
    array = small(tmp_path / "a")
    box = Box((0, 0), (16, 16))
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    array.write_shard(box, pixels)
    file = tmp_path / "a/c/0/0"
    whole = file.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(DamageError, match=r"chunk \(0, 0\).*--repair"):
            array.read(box)
    array.write_shard(box, pixels)
    np.testing.assert_array_equal(array.read(box), pixels)


def test_an_empty_shard_file_is_refused_without_zarrs(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "has_zarrs", lambda: False)
    array = small(tmp_path / "a")
    write(array, np.ones((20, 30), np.uint8))
    (tmp_path / "a/c/1/1").write_bytes(b"")
    assert array.read(Box((0, 0), (16, 16))).all()
    with pytest.raises(DamageError, match=r"chunk \(2, 2\)"):
        array.read(Box((0, 0), (20, 30)))


def test_a_failed_write_leaves_the_old_shard_and_no_scratch(tmp_path, monkeypatch):
    array = small(tmp_path / "a")
    box = Box((0, 0), (16, 16))
    array.write_shard(box, np.ones(box.shape, np.uint8))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="full; free space"):
        array.write_shard(box, np.full(box.shape, 2, np.uint8))
    monkeypatch.undo()
    assert (array.read(box) == 1).all()
    assert list((tmp_path / "a" / SCRATCH).iterdir()) == []


def test_a_full_disk_while_encoding_is_an_output_error(tmp_path, monkeypatch):
    array = small(tmp_path / "a")

    def full(*_: object) -> None:
        raise RuntimeError("No space left on device (os error 28)")  # as zarrs says it

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with pytest.raises(OutputError, match="full; free space"):
        array.write_shard(Box((0, 0), (16, 16)), np.ones((16, 16), np.uint8))


def test_no_permission_is_an_output_error(tmp_path, monkeypatch):
    array = small(tmp_path / "a")

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(OutputError, match="not writable"):
        array.write_shard(Box((0, 0), (16, 16)), np.ones((16, 16), np.uint8))


def test_scratch_of_killed_writers_is_removed(tmp_path):
    array = small(tmp_path / "a")
    left = tmp_path / "a" / SCRATCH / "123-456-abc"
    left.mkdir(parents=True)
    (left / "0.0").write_bytes(b"torn")
    array.clean_scratch()
    assert not (tmp_path / "a" / SCRATCH).exists()
    array.clean_scratch()


def test_readers_never_see_a_part_of_a_shard(tmp_path):
    array = small(tmp_path / "a", shape=(64, 64), shard=(64, 64), chunk=(16, 16))
    box = Box.of_shape((64, 64))
    array.write_shard(box, np.full((64, 64), 1, np.uint8))

    def write_often() -> None:
        for value in range(2, 60):
            array.write_shard(box, np.full((64, 64), value, np.uint8))

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write_often) for _ in range(2)]
        while not all(writer.done() for writer in writers):
            # One chunk at a time: a reader opens the file once per chunk.
            assert len(np.unique(array.read(Box((0, 0), (16, 16))))) == 1
        for writer in writers:
            writer.result()
    assert list((tmp_path / "a" / SCRATCH).iterdir()) == []


def test_threads_write_and_read_different_shards_at_once(tmp_path):
    array = small(tmp_path / "a", shape=(64, 64))
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64)).astype("uint8")

    def there_and_back(box: Box) -> bool:
        array.write_shard(box, pixels[box.slices])
        return bool((array.read(box) == pixels[box.slices]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, shards(array) * 3))


def test_processes_write_different_shards_at_once(tmp_path):
    array = small(tmp_path / "a", shape=(64, 64))
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64)).astype("uint8")
    jobs = shards(array)
    # spawn: the threads of zarr and zarrs do not survive a fork
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(array.write_shard, box, pixels[box.slices]) for box in jobs * 2]
        for future in futures:
            future.result()
    np.testing.assert_array_equal(array.read(Box.of_shape((64, 64))), pixels)


def test_remote_stores_are_written_plainly():
    array = create_array("memory://unet-batch-arrays", ArrayLayout((20, 30), "uint8", (16, 16), (8, 8)))
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30)).astype("uint8")
    write(array, pixels)
    again = open_array("memory://unet-batch-arrays")
    np.testing.assert_array_equal(again.read(Box((3, 5), (20, 30))), pixels[3:, 5:])


def test_a_zarr_store_object_is_a_location():
    store = zarr.storage.MemoryStore()
    pixels = np.arange(12, dtype=">u2").reshape(3, 4)
    zarr.create_array(store, name="inner", data=pixels)
    array = open_array(store, "inner")
    assert array.dtype.isnative
    np.testing.assert_array_equal(array.read(Box.of_shape((3, 4))), pixels)


@pytest.mark.parametrize("setting", ["gzip", "zstd:0", "zstd:23", "zstd:x", "zstd:-1", ""])
def test_unknown_compression(setting):
    with pytest.raises(InputError, match="use zstd"):
        ArrayLayout((4,), "uint8", (4,), (4,), compression=setting)


def test_a_shard_is_a_multiple_of_the_chunk():
    with pytest.raises(InputError, match="multiple"):
        ArrayLayout((4,), "uint8", (4,), (3,))
    with pytest.raises(InputError, match="one length per axis"):
        ArrayLayout((4, 4), "uint8", (4,), (4,))
    with pytest.raises(InputError, match="at least 1"):
        ArrayLayout((0,), "uint8", (4,), (4,))
