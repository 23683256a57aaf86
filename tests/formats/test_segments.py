import threading
import zlib
from collections import Counter

import numpy as np
import pytest
import tifffile

from tests.formats.foreign_files import RGB, pixels
from unet_batch.errors import FormatError
from unet_batch.formats import segments
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import open_reader
from unet_batch.formats.segments import SegmentCache, SegmentedTiff
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.layout import Blocking
from unet_batch.tiling.box import Box

PLAIN = ReadConfig()


@pytest.fixture
def decoded(monkeypatch):
    """How often each (page, segment) was decoded."""
    counts = Counter()
    decode = SegmentedTiff._decode

    def counting(self, page, index):
        counts[page, index] += 1
        return decode(self, page, index)

    monkeypatch.setattr(SegmentedTiff, "_decode", counting)
    return counts


def test_strips_are_decoded_once_for_all_blocks_of_a_row(tmp_path, decoded):
    image = pixels((100, 400))
    tifffile.imwrite(tmp_path / "a.tif", image, rowsperstrip=4, compression="lzw")
    blocking = Blocking.of("a", "yx", image.shape, IngestConfig(block=32))
    with open_reader(tmp_path / "a.tif", PLAIN) as reader:
        for box in blocking.boxes():
            np.testing.assert_array_equal(reader.read(box)[0], image[box.slices])
    assert decoded == dict.fromkeys(((0, i) for i in range(25)), 1)


def test_only_what_a_box_touches_is_decoded(tmp_path, decoded):
    tifffile.imwrite(tmp_path / "a.tif", pixels((3, 64, 64)), tile=(16, 16), photometric="minisblack")
    with open_reader(tmp_path / "a.tif", PLAIN) as reader:
        reader.read(Box((1, 17, 30), (2, 20, 34)))
    assert set(decoded) == {(1, 5), (1, 6)}


def test_the_cache_stays_within_its_bytes():
    cache, loads = SegmentCache(250), Counter()

    def load(key):
        loads[key] += 1
        return np.full(100, key, "uint8")

    for key in [0, 1, 0, 2, 0, 1]:
        assert cache.get((0, key), lambda k=key: load(k))[0] == key
    assert loads == {0: 1, 1: 2, 2: 1}
    assert cache._bytes <= 250


def test_a_segment_larger_than_the_cache_is_given_but_not_kept():
    cache = SegmentCache(10)
    assert cache.get((0, 0), lambda: np.ones(100, "uint8")).sum() == 100
    assert not cache._kept


def test_threads_that_want_one_segment_wait_for_one_decoding():
    cache, started, go, loads = SegmentCache(1000), threading.Event(), threading.Event(), []

    def slow():
        loads.append(1)
        started.set()
        assert go.wait(10)
        return np.ones(4, "uint8")

    threads = [threading.Thread(target=cache.get, args=((0, 0), slow)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    go.set()
    for thread in threads:
        thread.join()
    assert loads == [1]


def test_a_failed_decoding_is_tried_again():
    cache = SegmentCache(1000)

    def fail():
        raise ValueError("once")

    with pytest.raises(ValueError, match="once"):
        cache.get((0, 0), fail)
    assert cache.get((0, 0), lambda: np.ones(3))[0] == 1


def test_a_segment_too_large_to_decode_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_LIMIT", 1000)
    tifffile.imwrite(tmp_path / "a.tif", RGB, rowsperstrip=70, compression="lzw", photometric="rgb")
    with pytest.raises(FormatError, match="tiled TIFF"):
        open_reader(tmp_path / "a.tif", PLAIN)
    tifffile.imwrite(tmp_path / "b.tif", RGB, rowsperstrip=70, photometric="rgb")
    with open_reader(tmp_path / "b.tif", PLAIN) as reader:  # uncompressed: read in pieces
        assert reader.read(Box((69, 52), (70, 53))).ravel().tolist() == RGB[-1, -1].tolist()


def test_tiles_without_bytes_are_background(tmp_path):
    tiles = iter([b"", b"", b"", zlib.compress(bytes([7] * 256))])
    layout = {"shape": (32, 32), "dtype": "uint8", "tile": (16, 16), "compression": "deflate"}
    tifffile.imwrite(tmp_path / "a.tif", tiles, **layout)
    with open_reader(tmp_path / "a.tif", PLAIN) as reader:
        found = reader.read(Box.of_shape(reader.shape))[0]
    assert (found[16:, 16:] == 7).all()
    assert found.sum() == 7 * 256


def test_a_file_cut_short_is_said_to_be(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", pixels((64, 64)), tile=(16, 16), compression="deflate")
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:-10])
    with open_reader(tmp_path / "a.tif", PLAIN) as reader:
        reader.read(Box((0, 0), (16, 16)))
        with pytest.raises(FormatError, match="cut short"):
            reader.read(Box((48, 48), (64, 64)))


def test_missing_planes_of_a_set_are_not_taken_for_black(tmp_path):
    ome = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
        'SizeX="20" SizeY="20" SizeZ="2" SizeC="1" SizeT="1">'
        '<TiffData IFD="0" FirstZ="0" PlaneCount="1"/></Pixels></Image></OME>'
    )
    tifffile.imwrite(
        tmp_path / "a.ome.tif", pixels((20, 20)), description=ome, metadata=None, compression="zstd"
    )
    with open_reader(tmp_path / "a.ome.tif", PLAIN) as reader:
        assert reader.shape == (2, 20, 20)
        with pytest.raises(FormatError, match="is missing"):
            reader.read(Box((1, 0, 0), (2, 5, 5)))


@pytest.mark.parametrize(
    ("settings", "noted"), [({"cache_mb": 1}, True), ({}, False), ({"block": 16, "cache_mb": 1}, False)]
)
def test_a_cache_too_small_for_a_row_of_blocks_is_noted(tmp_path, settings, noted):
    tifffile.imwrite(tmp_path / "a.tif", pixels((2000, 1000)), rowsperstrip=4, compression="zstd")
    with open_reader(tmp_path / "a.tif", IngestConfig(**settings)) as reader:
        assert any("cache_mb" in note for note in reader.notes) == noted
