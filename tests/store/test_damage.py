"""A flipped bit in a shard is an error or changes nothing; never a wrong pixel."""

import random
from pathlib import Path

import numpy as np
import pytest
import zarr

from unet_batch.errors import DamageError
from unet_batch.store import pipeline
from unet_batch.store.arrays import create_array, open_array
from unet_batch.store.layout import ArrayLayout
from unet_batch.tiling.box import Box

FLIPS = 150


@pytest.mark.parametrize("zarrs", [True, False])
@pytest.mark.parametrize("compression", ["zstd", "blosc-lz4", "none"])
def test_a_flipped_bit_is_never_a_wrong_pixel(tmp_path, monkeypatch, compression, zarrs):
    if not zarrs:
        monkeypatch.setattr(pipeline, "has_zarrs", lambda: False)
    box = Box.of_shape((100, 130))
    rng = np.random.default_rng(0)
    pixels = (np.indices(box.shape).sum(0) // 30 % 3).astype("uint8")
    pixels[:10] = rng.integers(0, 255, (10, 130))
    array = create_array(
        tmp_path / "a", ArrayLayout(box.shape, "uint8", (128, 192), (64, 64), 0, compression)
    )
    array.write_shard(box, pixels)
    file = tmp_path / "a/c/0/0"
    whole = file.read_bytes()
    reports = []
    for bit in random.Random(0).sample(range(8 * len(whole)), FLIPS):
        torn = bytearray(whole)
        torn[bit // 8] ^= 1 << bit % 8
        file.write_bytes(torn)
        try:
            np.testing.assert_array_equal(open_array(array.path).read(box), pixels)
        except DamageError as error:
            reports.append(str(error))
    assert len(reports) > FLIPS // 2
    assert not any("\n" in report for report in reports)


@pytest.mark.parametrize("shape", [(50,), (30, 50), (2, 30, 50)])
def test_column_major_chunks_of_zarr_2_are_no_damage(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 2**16, shape).astype("uint16")
    chunks = (16, 24)[-len(shape) :] if len(shape) < 3 else (2, 16, 24)
    made = zarr.create_array(tmp_path / "a", shape=shape, chunks=chunks, dtype="u2", order="F", zarr_format=2)
    made[...] = pixels
    box = Box((1,) * len(shape), shape)
    np.testing.assert_array_equal(open_array(tmp_path / "a").read(box), pixels[box.slices])


def test_a_missing_permission_is_no_damage(tmp_path, monkeypatch):
    array = create_array(tmp_path / "a", ArrayLayout((8, 8), "uint8", (8, 8), (8, 8)))
    array.write_shard(Box.of_shape((8, 8)), np.ones((8, 8), "uint8"))
    (tmp_path / "a/c/0/0").write_bytes(b"what no decoder takes")

    def closed(self: Path, mode: str = "r") -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", closed)  # tests may run as root, whom no mode keeps out
    with pytest.raises(DamageError, match=r"c/0/0: not readable; ask for read permission"):
        array.read(Box.of_shape((8, 8)))
