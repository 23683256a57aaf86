"""Images: OME-Zarr 0.4, 0.5 and plain arrays read; 0.5 written with its pyramid."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unet_batch.errors import FormatError, InputError, MissingError, OutputError
from unet_batch.store.cache import ChunkCache
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout
from unet_batch.store.layout import PyramidLayout
from unet_batch.store.pyramid import halve_mean
from unet_batch.tiling import BlockGrid, Box

REAL = (
    Path(os.environ.get("UNET_BATCH_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "h_ome_zarr"
)
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real OME-Zarr samples at {REAL}")
quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def blocks(layout: PyramidLayout) -> list[Box]:
    return [block.box for block in BlockGrid(layout.shape, layout.block)]


def pixels_of(layout: PyramidLayout, seed: int = 0) -> np.ndarray:
    shape = (layout.channels, *layout.shape)
    return np.random.default_rng(seed).integers(0, 200, shape).astype(layout.dtype)


def written(path: Path, layout: PyramidLayout, **more: object) -> np.ndarray:
    pixels = pixels_of(layout)
    writer = pickle.loads(pickle.dumps(Image.create(path, ImageLayout(layout, **more))))  # type: ignore[arg-type]
    for box in blocks(layout):
        writer.write_block(box, pixels[(slice(None), *box.slices)])
    writer.finish()
    return pixels


SHAPES = [
    PyramidLayout("yx", (700, 900), 1, "uint8", (512, 512), (128, 128), 2),
    PyramidLayout("cyx", (1100, 300), 3, "uint16", (512, 512), (128, 128), 2),
    PyramidLayout("zyx", (70, 65, 40), 1, "float32", (64, 64, 64), (32, 32, 32), 3),
    PyramidLayout("tczyx", (2, 3, 300, 260), 2, "uint8", (1, 1, 512, 512), (1, 1, 128, 128), 2),
    PyramidLayout("tzyx", (2, 9, 33, 41), 1, "int16", (1, 64, 64, 64), (1, 32, 32, 32), 3),
    PyramidLayout("cyx", (1, 1), 2, "uint8", (512, 512), (128, 128), 2),
    PyramidLayout("yx", (1, 700), 1, "uint8", (256, 256), (100, 100), 2),
    PyramidLayout("yx", (50, 40), 1, "uint8", (31, 31), (8, 8), 2, levels=3),
]


@pytest.mark.parametrize("layout", SHAPES, ids=lambda layout: f"{layout.axes}-{layout.shape}")
def test_a_written_image_reads_back_on_every_level(tmp_path, layout):
    pixels = written(tmp_path / "a.zarr", layout)
    image = Image.open(tmp_path / "a.zarr")
    assert (image.axes, image.shape, image.channels) == (layout.axes, layout.shape, layout.channels)
    expected = pixels
    for level in range(layout.level_count):
        here = image.at_level(level)
        assert here.shape == layout.shape_at(level)
        np.testing.assert_array_equal(here.read(Box.of_shape(here.shape)), expected)
        expected = halve_mean(expected, range(-layout.dims, 0))
    assert not list((tmp_path / "a.zarr").rglob("*.partial"))


def test_metadata_reads_back_and_is_valid(tmp_path):
    models = pytest.importorskip("ome_zarr_models.v05")
    layout = PyramidLayout("czyx", (3, 300, 260), 2, "uint8", (1, 256, 256), (1, 64, 64), 2)
    size = {"z": 2.0, "y": 0.5, "x": 0.25}
    more = {"pixel_size": size, "unit": "micrometer", "channel_names": ("DAPI", "GFP"), "nodata": 7.0}
    pixels = written(tmp_path / "a.zarr", layout, **more, attributes={"spatial:bbox": [0, 1, 2, 3]})
    image = Image.open(tmp_path / "a.zarr")
    assert (dict(image.pixel_size), image.unit, image.channel_names) == (size, "micrometer", ("DAPI", "GFP"))
    assert image.nodata == 7
    assert dict(image.at_level(1).pixel_size) == {"z": 2.0, "y": 1.0, "x": 0.5}
    assert [level.factor for level in image.levels][:2] == [(1, 1, 1), (1, 2, 2)]
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group.attrs["spatial:bbox"] == [0, 1, 2, 3]
    models.Image.from_zarr(group)
    io, reader = pytest.importorskip("ome_zarr.io"), pytest.importorskip("ome_zarr.reader")
    node = next(iter(reader.Reader(io.parse_url(str(tmp_path / "a.zarr")))()))
    np.testing.assert_array_equal(np.asarray(node.data[0]), pixels)
    assert len(node.data) == layout.level_count


def test_channels_are_picked_in_the_order_asked_for(tmp_path):
    layout = PyramidLayout("tcyx", (2, 40, 50), 4, "uint8", (1, 32, 32), (1, 16, 16), 2)
    pixels = written(tmp_path / "a.zarr", layout)
    image = Image.open(tmp_path / "a.zarr")
    box = Box((1, 3, 5), (2, 40, 31))
    cache = ChunkCache(10**6)
    for channels in [None, (0,), (3, 1), (2, 2), (0, 1, 2, 3)]:
        picked = slice(None) if channels is None else list(channels)
        expected = pixels[picked][(slice(None), *box.slices)]
        np.testing.assert_array_equal(image.read(box, channels), expected)
        got, count = image.read_cached(box, cache, channels=channels)
        np.testing.assert_array_equal(got, expected)
        assert count.needed_bytes >= box.size
    for channels in [(4,), (-1,), ()]:
        with pytest.raises(InputError, match="choose among 0 to 3"):
            image.read(box, channels)


@quick
@given(st.permutations("cyx"), st.data())
def test_plain_arrays_with_channels_anywhere(tmp_path_factory, axes, data):
    shape = tuple(data.draw(st.integers(1, 6)) for _ in axes)
    path = tmp_path_factory.mktemp("plain") / "a.zarr"
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype("uint8")
    zarr.create_array(path, data=pixels, chunks=(2, 2, 2))
    image = Image.open(path, axes="".join(axes))
    expected = np.moveaxis(pixels, axes.index("c"), 0)
    np.testing.assert_array_equal(image.read(Box.of_shape(image.shape)), expected)


def test_axes_of_plain_arrays(tmp_path):
    zarr.create_array(tmp_path / "flat", data=np.ones((3, 4)))
    assert Image.open(tmp_path / "flat").axes == "yx"
    zarr.create_array(tmp_path / "bare", data=np.ones((2, 3, 4)))
    with pytest.raises(InputError, match="--axes"):
        Image.open(tmp_path / "bare")
    for wrong in ["yx", "ccx", "abc", "tcz", "cy"]:
        with pytest.raises(InputError, match="axes"):
            Image.open(tmp_path / "bare", axes=wrong)
    zarr.create_array(tmp_path / "named", data=np.ones((2, 3, 4)), dimension_names=["band", "y", "x"])
    assert Image.open(tmp_path / "named").axes == "cyx"
    v2 = zarr.create_array(tmp_path / "v2", data=np.ones((2, 3, 4), "u2"), zarr_format=2)
    v2.attrs.update({"_ARRAY_DIMENSIONS": ["time", "y", "x"], "_FillValue": 9})
    image = Image.open(tmp_path / "v2")
    assert (image.axes, image.nodata, image.channels) == ("tyx", 9, 1)


@real
def test_real_ome_zarr_04():
    image = Image.open(REAL / "tubhiswt4D_sub_v04.zarr")
    assert (image.axes, image.shape, image.channels) == ("tczyx", (3, 2, 512, 512), 1)
    assert (image.unit, image.channel_names, len(image.levels)) == ("micrometer", ("channel_0",), 3)
    assert image.levels[2].factor == (1, 1, 4, 4)
    expected = zarr.open_array(REAL / "tubhiswt4D_sub_v04.zarr" / "0", mode="r")[1:2, :, :, 3:70, 200:512]
    got = image.read(Box((1, 0, 3, 200), (2, 2, 70, 512)))
    np.testing.assert_array_equal(got, np.moveaxis(expected, 1, 0))


@real
def test_real_ome_zarr_05():
    image = Image.open(REAL / "derived_tubhis_v05.zarr", level=4)
    assert (image.axes, image.shape, dict(image.pixel_size)["x"]) == ("tczyx", (3, 2, 32, 32), 16.0)
    labels = Image.open(REAL / "derived_tubhis_v05.zarr" / "labels" / "embryo")
    assert (labels.axes, labels.channels) == ("tzyx", 1)
    assert labels.read(Box.of_shape(labels.shape)).shape == (1, *labels.shape)


def test_places_without_an_image(tmp_path):
    with pytest.raises(MissingError):
        Image.open(tmp_path / "nothing")
    zarr.create_group(tmp_path / "group")
    with pytest.raises(FormatError, match="without OME-Zarr multiscales"):
        Image.open(tmp_path / "group")
    zarr.create_group(tmp_path / "series", attributes={"ome": {"bioformats2raw.layout": 3}})
    with pytest.raises(FormatError, match="PATH/0"):
        Image.open(tmp_path / "series")
    layout = PyramidLayout("yx", (9, 9), 1, "uint8", (8, 8), (4, 4), 2)
    written(tmp_path / "a.zarr", layout)
    with pytest.raises(InputError, match="no level 9"):
        Image.open(tmp_path / "a.zarr", level=9)
    with pytest.raises(InputError, match="not zyx"):
        Image.open(tmp_path / "a.zarr", axes="zyx")
    with pytest.raises(OutputError, match="exists already"):
        Image.create(tmp_path / "a.zarr", ImageLayout(layout))
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file is in the way"):
        Image.create(tmp_path / "file", ImageLayout(layout))


def test_an_interrupted_image_keeps_its_pixels(tmp_path):
    layout = PyramidLayout("yx", (9, 9), 1, "uint8", (8, 8), (4, 4), 2)
    writer = Image.create(tmp_path / "a.zarr", ImageLayout(layout))
    writer.write_block(Box((0, 0), (8, 8)), np.full((1, 8, 8), 9, np.uint8))
    with pytest.raises(FormatError):
        Image.open(tmp_path / "a.zarr")
    with pytest.raises(OutputError, match=r"holds finished blocks, but its zarr\.json is missing"):
        Image.create(tmp_path / "a.zarr", ImageLayout(layout))
    writer.finish()
    assert Image.open(tmp_path / "a.zarr").read(Box((0, 0), (8, 8))).min() == 9


def test_an_image_without_pixels_is_begun_anew(tmp_path):
    layout = PyramidLayout("yx", (9, 9), 1, "uint8", (8, 8), (4, 4), 2)
    Image.create(tmp_path / "a.zarr", ImageLayout(layout))
    pixels = written(tmp_path / "a.zarr", layout)
    np.testing.assert_array_equal(Image.open(tmp_path / "a.zarr").read(Box.of_shape((9, 9))), pixels)


@quick
@given(data=st.data())
def test_hostile_ome_metadata_is_one_clear_error(tmp_path, data):
    path = tmp_path / "a.zarr"
    if not path.exists():
        written(path, PyramidLayout("cyx", (9, 9), 2, "uint8", (8, 8), (4, 4), 2))
        shutil.copy(path / "zarr.json", tmp_path / "good.json")
    metadata = json.loads((tmp_path / "good.json").read_text())
    node = metadata["attributes"]["ome"]
    while isinstance(node, dict | list) and node:
        keys = sorted(node) if isinstance(node, dict) else range(len(node))
        key = data.draw(st.sampled_from(keys))
        if data.draw(st.integers(0, 3)) == 0 or not isinstance(node[key], dict | list) or not node[key]:
            node[key] = data.draw(st.sampled_from([None, [], {}, -1, "z", "é\n", [None], {"type": "scale"}]))
            break
        node = node[key]
    (path / "zarr.json").write_text(json.dumps(metadata))
    said = ""
    try:
        Image.open(path)
    except (FormatError, MissingError, InputError) as error:
        said = str(error)
    assert "\n" not in said


def test_identity_follows_pixels_not_places(tmp_path):
    layout = PyramidLayout("cyx", (40, 40), 2, "uint8", (16, 16), (8, 8), 2)
    written(tmp_path / "a.zarr", layout)
    identity = Image.open(tmp_path / "a.zarr").identity()
    shutil.copytree(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert Image.open(tmp_path / "b.zarr").identity() == identity
    assert Image.open(tmp_path / "b.zarr").at_level(1).identity() == identity
    (tmp_path / "b.zarr" / "0" / "c" / "0" / "0" / "0").unlink()
    assert Image.open(tmp_path / "b.zarr").identity() != identity
    plain = zarr.open_array(tmp_path / "a.zarr" / "0", mode="r")[...]
    for name, change in [("c", plain), ("d", plain[:, ::-1])]:
        zarr.create_array(tmp_path / name, data=np.ascontiguousarray(change), chunks=(1, 8, 8))
    same, other = (Image.open(tmp_path / name, axes="cyx").identity() for name in "cd")
    assert same != other


@pytest.mark.parametrize("small", [True, False])
def test_percentiles_leave_no_data_out(tmp_path, monkeypatch, small):
    if not small:
        monkeypatch.setattr("unet_batch.store.sampling._MAX_PIXELS", 600)
    pixels = np.zeros((2, 64, 64), np.float32)
    pixels[0, :, 32:] = np.linspace(1, 101, 32)
    pixels[0, 0, 40] = np.inf
    zarr.create_array(tmp_path / "a", data=pixels, chunks=(1, 8, 64))
    image = Image.open(tmp_path / "a", axes="cyx")
    found = image.percentiles([0, 50, 100], nodata=0)
    assert found.shape == (2, 3)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0], [1, 51, 101], atol=2)
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found, image.percentiles([0, 50, 100], nodata=0))
    np.testing.assert_allclose(image.percentiles([100], (0,)), [[101]])


def test_percentiles_of_a_huge_image_come_from_its_pyramid(tmp_path, monkeypatch):
    layout = PyramidLayout("yx", (64, 64), 1, "uint8", (32, 32), (16, 16), 2, levels=3)
    written(tmp_path / "a.zarr", layout)
    monkeypatch.setattr("unet_batch.store.sampling._MAX_PIXELS", 300)
    image = Image.open(tmp_path / "a.zarr")
    expected = np.percentile(image.at_level(2).read(Box.of_shape((16, 16))), [1, 99])
    np.testing.assert_array_equal(image.percentiles([1, 99])[0], expected)


def test_bool_pixels_are_0_and_1(tmp_path):
    pixels = np.random.default_rng(0).random((40, 50)) > 0.5
    zarr.create_array(tmp_path / "image", data=pixels, chunks=(16, 16))
    image = Image.open(tmp_path / "image")
    assert image.dtype == np.uint8
    for read in (
        image.read(Box((3, 5), (37, 41))),
        image.read_cached(Box((3, 5), (37, 41)), ChunkCache(1 << 20))[0],
    ):
        assert read.dtype == np.uint8
        assert (read[0] == pixels[3:37, 5:41]).all()
    assert image.percentiles([1, 99]).tolist() == [[0, 1]]
