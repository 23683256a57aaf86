"""Images with missing data: what networks see at collars, what is never computed, how it is normalised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import noise, shard_hashes, write_image, write_network
from unet_batch.engine.progress import Hooks
from unet_batch.prediction.collar import mirrored
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.plan import Plan
from unet_batch.prediction.run import predict
from unet_batch.prediction.status import status
from unet_batch.prediction.untiled import compare_untiled
from unet_batch.store import image_writer
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout, ImageWriter
from unet_batch.store.layout import PyramidLayout
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

FIXED = {"workers": 0, "precision": "fp32", "backend": "eager", "device": "cpu", "block": 32, "tile": 32}
SHAPE = (120, 130)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("net") / "net.safetensors", depth=2)[0]


def run(image, out, model, **settings):
    predict(image, out, model, PredictConfig(**{**FIXED, **settings}))
    masks = Masks.open(out)
    return masks.read(Box.of_shape(masks.layout.shape))[0]


def mosaic(path, pixels, how, block=64):
    """An image of this program with its pyramid: zeros are missing by value, or by a count beside it."""
    counted = how == "count"
    layout = PyramidLayout("yx", pixels.shape, 1, str(pixels.dtype), (block, block), (16, 16), 2)
    own = ImageLayout(layout, nodata=None if counted else 0, nodata_mask="count" if counted else None)
    parts = [(Image.create(path, own), pixels)]
    if counted:
        count = Image.create(path / "count", ImageLayout(layout, halving="max"))
        parts.append((count, (pixels > 0).astype("uint8")))
    for writer, whole in parts:
        for y in range(0, pixels.shape[0], block):
            for x in range(0, pixels.shape[1], block):
                box = Box((y, x), (y + block, x + block)).intersect(Box.of_shape(pixels.shape))
                writer.write_block(box, whole[box.slices][np.newaxis].copy())
        writer.finish()
    return path


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.integers(1, 6), st.integers(0, 2))
def test_a_collar_around_an_image_is_a_mirror_as_its_border(seed, height, width, reach, corner):
    rng = np.random.default_rng(seed)
    inner = rng.integers(1, 99, (2, height, width))
    pads = [(0, 0), (reach, reach * (corner > 0)), (reach * (corner > 1), reach)]
    pixels = np.pad(inner, pads)
    has = np.pad(np.ones((height, width), bool), pads[1:])
    filled, left = mirrored(pixels, has, (reach, reach))
    np.testing.assert_array_equal(filled, np.pad(inner, pads, mode="reflect"))
    assert not left.any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.floats(0.05, 0.95))
def test_a_filled_pixel_follows_from_what_is_near(seed, reach, share):
    rng = np.random.default_rng(seed)
    pixels, has = rng.integers(1, 99, (1, 40, 40)), rng.random((40, 40)) < share
    whole, whole_left = mirrored(pixels, has, (reach, reach))
    more = 2 * reach + 2
    cut = (slice(12 - more, 25 + more), slice(12 - more, 25 + more))
    part, part_left = mirrored(pixels[(slice(None), *cut)], has[cut], (reach, reach))
    inner = (slice(more, -more), slice(more, -more))
    np.testing.assert_array_equal(part_left[inner], whole_left[12:25, 12:25])
    near = ~whole_left[12:25, 12:25]
    np.testing.assert_array_equal(part[0][inner][near], whole[0, 12:25, 12:25][near])
    np.testing.assert_array_equal(whole[0][has], pixels[0][has])


@pytest.mark.parametrize("how", ["value", "count"])
def test_a_collar_is_seen_as_the_images_border(tmp_path, network, how):
    pixels = noise(SHAPE) + 1
    framed = np.pad(pixels, ((40, 24), (24, 48)))
    image = mosaic(tmp_path / "framed.zarr", framed, how)
    alone = run(write_image(tmp_path / "alone.zarr", pixels, "yx"), tmp_path / "a.zarr", network)
    found = run(image, tmp_path / "b.zarr", network)
    np.testing.assert_array_equal(found == 255, framed == 0)
    # Tiles of the two begin at other pixels, so sums are rounded otherwise.
    assert np.mean(found[40:-24, 24:-48] == alone) > 0.999


@pytest.mark.parametrize("fill", ["mirror", "mean", "keep"])
def test_results_depend_on_neither_blocks_nor_tiles(tmp_path, network, fill):
    pixels = noise(SHAPE) + 1
    pixels[np.random.default_rng(1).random(SHAPE) < 0.02] = 0
    pixels[:50, :40] = 0
    image = mosaic(tmp_path / "image.zarr", pixels, "value")
    found = [run(image, tmp_path / f"{b}.zarr", network, nodata_fill=fill, block=b, tile=b) for b in (16, 64)]
    assert np.mean(found[0] == found[1]) > 0.999
    difference = compare_untiled(tmp_path / "16.zarr", 4, image=image, model=network)
    assert difference.untiled_max_abs_diff < 1e-4


def test_filling_changes_what_is_beside_a_collar_only(tmp_path, network):
    pixels = noise(SHAPE) + 1
    pixels[:, :60] = 0
    image = mosaic(tmp_path / "image.zarr", pixels, "value")
    fills = ("mirror", "mean", "keep")
    found = {f: run(image, tmp_path / f"{f}.zarr", network, nodata_fill=f) for f in fills}
    for fill in ("mean", "keep"):
        assert (found["mirror"][:, 60:80] != found[fill][:, 60:80]).any()
        np.testing.assert_array_equal(found["mirror"][:, 110:], found[fill][:, 110:])


@pytest.fixture
def reads(monkeypatch):
    """Boxes that blocks read at the image's own level."""
    seen, original = [], Image.read_cached

    def noted(self, box, *arguments):
        seen.append(box)
        return original(self, box, *arguments)

    monkeypatch.setattr(Image, "read_cached", noted)
    return seen


@pytest.mark.parametrize("how", ["value", "count"])
def test_empty_blocks_cost_nothing(tmp_path, network, how, reads):
    pixels = np.zeros((512, 512), np.uint8)
    pixels[200:260, 300:340] = noise((60, 40)) + 1
    image, events = mosaic(tmp_path / "image.zarr", pixels, how), []
    hooks = Hooks(lambda event, progress: events.append(event))
    predict(image, tmp_path / "out.zarr", network, PredictConfig(**FIXED), hooks=hooks)
    blocks = status(tmp_path / "out.zarr").blocks
    touched = 3 * 2  # of 32 px: rows 192 to 288, columns 288 to 352
    assert (blocks["done"], blocks["skipped"]) == (touched, 256 - touched)
    assert len([e for e in events if e is not None]) == touched  # the others never reach a worker
    assert len(reads) <= 2 * touched


def test_shards_that_were_never_written_are_not_read(tmp_path, network, reads):
    pixels = np.zeros((256, 256), np.uint8)
    pixels[:20, :20] = 7
    image = write_image(tmp_path / "image.zarr", pixels, "yx", chunk=32)  # no pyramid to look at
    predict(image, tmp_path / "out.zarr", network, PredictConfig(**FIXED, nodata=0))
    assert status(tmp_path / "out.zarr").blocks["done"] == 1
    assert len(reads) == 2  # the block, and more around it to mirror


@pytest.mark.parametrize("how", ["value", "count"])
def test_missing_pixels_are_left_out_of_statistics(tmp_path, how):
    model = write_network(tmp_path / "net.safetensors", depth=1, normalisation={"percentiles": [5, 95]})[0]
    pixels = noise(SHAPE) + 1
    image = mosaic(tmp_path / "image.zarr", np.pad(pixels, 60), how)
    run(image, tmp_path / "out.zarr", model, nodata_fill="mean")
    found = Plan.model_validate(Masks.open(tmp_path / "out.zarr").attributes["plan"]).compute
    low, high = np.percentile(pixels, [5, 95])
    assert found.offset == pytest.approx([low])
    assert found.scale == pytest.approx([1 / (high - low)])
    assert found.nodata_mean == pytest.approx([pixels.mean()])


def test_a_moved_mosaic_has_the_same_plan(tmp_path, network):
    pixels = noise(SHAPE) + 1
    pixels[:64, :64] = 0
    image = mosaic(tmp_path / "image.zarr", pixels, "count")
    run(image, tmp_path / "one.zarr", network)
    image.rename(tmp_path / "elsewhere.zarr")
    run(tmp_path / "elsewhere.zarr", tmp_path / "two.zarr", network)
    assert shard_hashes(tmp_path / "one.zarr") == shard_hashes(tmp_path / "two.zarr")
    plans = [Masks.open(tmp_path / name).attributes["plan_hash"] for name in ("one.zarr", "two.zarr")]
    assert plans[0] == plans[1]


@pytest.fixture(scope="module")
def holes():
    """Pixels, of which some are NaN and some -9999, and where each is."""
    pixels = noise(SHAPE).astype("float32")
    nan, value = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    nan[10:14, 20:30] = value[60:66, 70:90] = True
    return np.where(nan, np.float32("nan"), np.where(value, np.float32(-9999), pixels)), nan, value


def test_nan_is_no_data_in_every_image_of_floats(tmp_path, network, holes):
    """Without a word in metadata or settings."""
    pixels, nan, _ = holes
    image = write_image(tmp_path / "image.zarr", pixels, "yx")
    np.testing.assert_array_equal(run(image, tmp_path / "out.zarr", network) == 255, nan)


@pytest.mark.parametrize("told", [-9999, [-9999, "nan"], [5e5, -9999]])
def test_nan_is_no_data_beside_any_number_of_values(tmp_path, network, holes, told):
    pixels, nan, value = holes
    image = write_image(tmp_path / "image.zarr", pixels, "yx")
    found = run(image, tmp_path / "out.zarr", network, nodata=told)
    np.testing.assert_array_equal(found == 255, nan | value)


def test_several_values_of_integers_are_no_data(tmp_path, network):
    pixels = noise(SHAPE) % 200 + 1
    pixels[10:14, 20:30], pixels[60:66, 70:90] = 0, 255
    image = write_image(tmp_path / "image.zarr", pixels, "yx")
    found = run(image, tmp_path / "out.zarr", network, nodata=[0, 255])
    np.testing.assert_array_equal(found == 255, (pixels == 0) | (pixels == 255))


def test_pixels_far_from_nan_keep_their_classes(tmp_path, network, holes):
    pixels, nan, value = holes
    found = {}
    for name, content in {"clean": np.where(nan | value, 0, pixels), "holes": pixels}.items():
        image = write_image(tmp_path / f"{name}.zarr", content, "yx")
        found[name] = run(image, tmp_path / f"{name}-out.zarr", network, nodata=-9999)
    far = np.ones(SHAPE, bool)
    far[:60, :80] = far[15:, 25:] = False
    assert far.any()
    np.testing.assert_array_equal(found["holes"][far], found["clean"][far])


def test_nan_counts_beside_a_mask(tmp_path, network, holes):
    pixels, nan, value = holes
    image = write_image(tmp_path / "image.zarr", pixels, "yx")
    mask = write_image(tmp_path / "mask.zarr", (~value).astype("uint8"), "yx")
    found = run(image, tmp_path / "out.zarr", network, nodata={"mask": str(mask)})
    np.testing.assert_array_equal(found == 255, nan | value)


@pytest.mark.parametrize("named", [None, -9999.0])
def test_levels_of_stores_that_do_not_name_nan_say_nothing_of_it(tmp_path, network, named):
    """In older stores a coarse pixel is NaN where any below it is: no block may be left out for that."""
    pixels = noise(SHAPE).astype("float32")
    pixels[::8, ::8] = np.nan
    layout = PyramidLayout("yx", SHAPE, 1, "float32", (32, 32), (16, 16), 2)
    writer = Image.create(tmp_path / "image.zarr", ImageLayout(layout, nodata=named))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageWriter, "_nodata", property(lambda self: self.layout.nodata))
        patch.setattr(image_writer, "halve_mean", lambda x, axes, nodata: x[:, ::2, ::2])
        for y in range(0, SHAPE[0], 32):
            for x in range(0, SHAPE[1], 32):
                box = Box((y, x), (y + 32, x + 32)).intersect(Box.of_shape(SHAPE))
                writer.write_block(box, pixels[box.slices][np.newaxis].copy())
        writer.finish()
    found = run(tmp_path / "image.zarr", tmp_path / "out.zarr", network)
    np.testing.assert_array_equal(found == 255, np.isnan(pixels))


def test_plans_of_integers_are_those_of_before(tmp_path, network):
    """The plan's hash decides whether a store is resumed."""
    image = write_image(tmp_path / "image.zarr", noise(SHAPE), "yx")
    for told in (None, 7):
        predict(image, tmp_path / f"{told}.zarr", network, PredictConfig(**FIXED, nodata=told))
        assert Masks.open(tmp_path / f"{told}.zarr").attributes["plan"]["image"]["nodata"] == told
