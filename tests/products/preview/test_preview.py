"""Previews: which pixels they show, in which colours, under what scale bar and legend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from tests.cli.program import call
from tests.products.worlds import NAMES, blobs, write_image, write_masks
from unet_batch.errors import FormatError, InputError, MissingError
from unet_batch.ingestion.run import ingest
from unet_batch.products.preview import scene as module
from unet_batch.products.preview.config import PreviewConfig
from unet_batch.products.preview.run import preview
from unet_batch.products.preview.scene import Scene
from unet_batch.products.scale import scale_bar
from unet_batch.store.ome import class_colours

BARE = PreviewConfig(frame=False, outlines=False, opacity=1)
SHAPE = (300, 400)


def picture(path):
    with Pillow.open(path) as found:
        return np.asarray(found.convert("RGB")).astype(int)


@pytest.fixture
def labels():
    return blobs(SHAPE, 1, size=6)


@pytest.fixture
def masks(tmp_path, labels):
    return write_masks(
        tmp_path / "masks", labels, block=128, pixel_size={"y": 0.5, "x": 0.5}, unit="micrometer"
    )


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (3, *SHAPE)).astype("u1")
    return write_image(tmp_path / "image", pixels, "cyx", chunk=100)


def test_classes_have_their_colours_and_the_background_none(tmp_path, masks, labels, image):
    done = preview([image, masks], tmp_path / "p.png", BARE)
    found = picture(tmp_path / "p.png")
    assert (done.width, done.height, done.pixels) == (800, 600, 0.5)
    shown = np.repeat(np.repeat(labels, 2, 0), 2, 1)
    for value, colour in list(enumerate(class_colours(NAMES)))[1:]:
        assert (found[shown == value] == colour[:3]).all()
    preview(image, tmp_path / "q.png", BARE)
    below = picture(tmp_path / "q.png")
    np.testing.assert_array_equal(found[shown == 0], below[shown == 0])


def test_a_level_is_shown_pixel_by_pixel(tmp_path, masks, image):
    done = preview([masks, image], tmp_path / "p.png", BARE, level=1)
    assert (done.width, done.height, done.pixels) == (200, 150, 2.0)
    with pytest.raises(InputError, match="no level 9"):
        preview(masks, tmp_path / "p.png", BARE, level=9)


def test_a_box_is_shown(tmp_path, masks, labels):
    preview(masks, tmp_path / "p.png", BARE, level=0, box=[(10, 60), (30, 95)])
    found = picture(tmp_path / "p.png")
    assert found.shape == (50, 65, 3)
    clear = labels[10:60, 30:95] == 0
    assert (found[clear] == 255).all(), "white below masks without an image"
    assert (found[~clear] != 255).any(axis=-1).all()
    for box in ([(0, 5)], [(5, 5), (0, 9)], [(0, 999), (0, 9)], [(0, 1)] * 3):
        with pytest.raises(InputError, match="box"):
            preview(masks, tmp_path / "q.png", BARE, box=box)
    assert not (tmp_path / "q.png").exists()


def test_outlines_are_opaque(tmp_path, labels):
    labels[:] = 0
    labels[100:200, 100:200] = 1
    masks = write_masks(tmp_path / "m", labels)
    preview(masks, tmp_path / "p.png", PreviewConfig(frame=False, opacity=0), level=0)
    drawn = (picture(tmp_path / "p.png") != 255).any(axis=-1)
    assert drawn[100:200, 100].all()
    assert not drawn[101:199, 101:199].any()
    assert drawn.sum() == 4 * 99


def test_of_huge_images_without_levels_rows_are_left_out(tmp_path, masks, image, monkeypatch):
    monkeypatch.setattr(module, "_STRIP", 1000)
    preview([image, masks], tmp_path / "p.png", PreviewConfig(size=100, frame=False))
    assert picture(tmp_path / "p.png").shape == (75, 100, 3)


def test_grey_and_float_images_are_stretched(tmp_path):
    ramp = np.linspace(-3, 9, 90000, dtype="f4").reshape(300, 300)
    ramp[0, :9] = np.nan
    write_image(tmp_path / "f", ramp, "yx", chunk=150)
    preview(tmp_path / "f", tmp_path / "p.png", PreviewConfig(frame=False, contrast=(0, 100)), level=0)
    found = picture(tmp_path / "p.png")
    assert (found[..., 0] == found[..., 2]).all()
    assert (found[1, 0, 0], found[-1, -1, 0]) == (1, 255) or found[1, 0, 0] <= 1
    assert (np.diff(found[1:, 0, 0]) >= 0).all()


def test_channels_are_chosen_by_number(tmp_path, image):
    one = PreviewConfig(frame=False, channels=(2,), contrast=(0, 100))
    preview(image, tmp_path / "p.png", one, level=0)
    two = PreviewConfig(frame=False, channels=(0, 1))
    preview(image, tmp_path / "q.png", two, level=0)
    assert (np.ptp(picture(tmp_path / "p.png"), axis=-1) == 0).all()
    found = picture(tmp_path / "q.png")
    assert (found[..., 0] == found[..., 2]).all()
    with pytest.raises(InputError, match="no channel dapi; choose among 0 to 2"):
        preview(image, tmp_path / "r.png", PreviewConfig(channels=("dapi",)))


def test_stacks_show_their_middle_or_the_plane_asked_for(tmp_path):
    labels = np.zeros((5, 40, 40), "u1")
    labels[2, 10:30, 10:30] = 1
    masks = write_masks(tmp_path / "m", labels, "zyx", dims=2)
    preview(masks, tmp_path / "p.png", BARE)
    assert (picture(tmp_path / "p.png") != 255).any()
    preview(masks, tmp_path / "p.png", BARE, box=[(3, 4), (0, 40), (0, 40)])
    assert (picture(tmp_path / "p.png") == 255).all()


def test_objects_and_channels(tmp_path, labels):
    numbers = write_masks(tmp_path / "n", labels.astype("u4") * 7, kind="instances", names=("cell",))
    preview(numbers, tmp_path / "p.png", BARE, level=0)
    found = picture(tmp_path / "p.png").reshape(-1, 3)
    assert len(np.unique(found, axis=0)) == 3
    both = np.stack([labels == 1, labels >= 1]).astype("u1")
    channels = write_masks(tmp_path / "c", both, "yx", ("a", "b"), "multilabel")
    preview(channels, tmp_path / "p.png", PreviewConfig(frame=False, outlines=False), level=0)
    assert len(np.unique(picture(tmp_path / "p.png").reshape(-1, 3), axis=0)) == 3


def test_the_image_of_masks_is_found(tmp_path, labels):
    dark, bright = np.full(SHAPE, 90, "u1"), labels.astype(bool)
    np.save(tmp_path / "image.npy", np.where(bright, 200, dark).astype("u1"))
    ingest(tmp_path / "image.npy", tmp_path / "image.zarr")
    masks = write_masks(tmp_path / "image.zarr" / "labels" / "cells", labels)
    assert Scene.open([masks]).base is not None
    preview(masks, tmp_path / "p.png", BARE, level=0)
    preview(masks, tmp_path / "q.png", BARE.model_copy(update={"opacity": 0.0}), level=0)
    assert (picture(tmp_path / "q.png")[labels == 0] == 0).all()
    assert (picture(tmp_path / "q.png")[labels > 0] == 255).all()


def test_the_frame_adds_a_legend_below_and_a_bar_inside(tmp_path, masks):
    bare = preview(masks, tmp_path / "p.png", PreviewConfig(frame=False))
    done = preview(masks, tmp_path / "q.png", PreviewConfig())
    assert done.width == bare.width
    assert done.height > bare.height
    low, framed = picture(tmp_path / "p.png"), picture(tmp_path / "q.png")
    changed = (low != framed[: bare.height]).any(axis=-1)
    rows, columns = np.nonzero(changed)
    share, label = scale_bar(400 * 0.5, "micrometer")
    assert (share, label) == (0.25, "50 µm")
    assert columns.max() < bare.width * (share + 0.06)
    assert rows.min() > bare.height * 0.85
    legend = framed[bare.height :].reshape(-1, 3)
    for colour in class_colours(NAMES)[1:]:
        assert (legend == colour[:3]).all(axis=-1).any()


@given(st.floats(1e-6, 1e12), st.sampled_from([None, "micrometer", "metre", "parsec"]))
def test_bars_are_round_and_not_too_wide(width, unit):
    share, label = scale_bar(width, unit)
    assert 0.099 < share <= 0.2501
    number = label.split()[0].replace(",", "")
    assert f"{float(number):e}"[0] in "125"


def test_what_cannot_be_shown_is_named(tmp_path, masks, image, labels):
    other = write_masks(tmp_path / "other", labels[:99])
    before = sorted(entry.name for entry in tmp_path.iterdir())
    cases = [
        (tmp_path / "none", "p.png", MissingError, "no such path"),
        (tmp_path, "p.png", FormatError, "."),
        (masks, "p.tif", InputError, ".png"),
        ([image, image], "p.png", InputError, "second image"),
        ([masks, other], "p.png", InputError, "one image"),
        ([image, other], "p.png", InputError, "give the image"),
    ]
    for stores, name, error, says in cases:
        with pytest.raises(error, match=says):
            preview(stores, tmp_path / name)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before


def test_the_program(tmp_path, masks, image, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "800 x" in call("preview", "image", "masks", "p.png", "--set", "opacity=0.5").out
    assert (
        call("preview", "masks", "p.png", "--box", "0:50,0:60", "--level", "0", "--json").json["width"] == 60
    )
    assert call("preview", "masks", "p.png", "--box", "0:x").code == 2
    assert "opacity" in call("preview", "masks", "p.png", "--set", "opacity=2").refusal
