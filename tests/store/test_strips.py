"""Shards that several threads encode have the bytes of one thread."""

import numpy as np
import pytest

from unet_batch.store.arrays import create_array, open_array
from unet_batch.store.layout import ArrayLayout
from unet_batch.tiling import Box


def written(path, layout, data, encoders):
    create_array(path, layout)
    array = open_array(path, read_only=False, encoders=encoders)
    for index in np.ndindex(*array.shards.counts):
        box = array.shards.box(index)
        array.write_shard(box, data[box.slices])
    np.testing.assert_array_equal(open_array(path).read(Box.of_shape(data.shape)), data)
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


SHAPES = {
    "plane, clipped": ((70, 100), (64, 64), (16, 16)),
    "one row of chunks": ((16, 100), (16, 64), (16, 16)),
    "channels": ((3, 40, 40), (3, 32, 32), (1, 16, 16)),
    "volume": ((40, 33, 20), (32, 32, 32), (16, 16, 16)),
    "one chunk": ((20, 20), (16, 16), (16, 16)),
}


@pytest.mark.parametrize("compression", ["zstd", "none", "blosc-lz4"])
@pytest.mark.parametrize("name", SHAPES)
def test_bytes_do_not_depend_on_encoders(tmp_path, name, compression):
    shape, shard, chunk = SHAPES[name]
    data = np.random.default_rng(0).integers(0, 4, shape).astype(np.uint8)
    data[tuple(slice(n // 3, 2 * n // 3) for n in shape)] = 0
    data[..., : shape[-1] // 2] *= data[..., :1] > 9  # chunks, and whole strips, of fill
    layout = ArrayLayout(shape, "uint8", shard, chunk, compression=compression)
    alone = written(tmp_path / "1", layout, data, 1)
    for encoders in (2, 3, 8):
        assert written(tmp_path / str(encoders), layout, data, encoders) == alone


def test_nothing_but_fill_has_no_file(tmp_path):
    layout = ArrayLayout((64, 64), "uint8", (64, 64), (16, 16))
    files = written(tmp_path / "a", layout, np.zeros((64, 64), np.uint8), 4)
    assert [file.name for file in files] == ["zarr.json"]
