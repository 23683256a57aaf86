"""Paths in a store's metadata, and links in its folders, do not lead out of it."""

import json

import numpy as np
import pytest

from tests.store.test_masks import layout
from unet_batch.errors import FormatError, OutputError
from unet_batch.store.containment import inside
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout
from unet_batch.store.layout import PyramidLayout
from unet_batch.store.ledger import Ledger
from unet_batch.store.lock import OutputLock
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

OUTSIDE = ["../other.zarr/0", "..", "a/../../b", "/etc", "s3://bucket/0", "file::https://host/0"]


def write_image(path):
    pyramid = PyramidLayout(
        axes="yx", shape=(64, 64), channels=1, dtype="uint8", block=(64, 64), chunk=(64, 64), dims=2
    )
    writer = Image.create(path, ImageLayout(pyramid, nodata_mask="count"))
    writer.write_block(Box.of_shape((64, 64)), np.ones((1, 64, 64), np.uint8))
    writer.finish()
    return path


def edited(path, change):
    file = path / "zarr.json"
    values = json.loads(file.read_text())
    change(values["attributes"])
    file.write_text(json.dumps(values))


@pytest.mark.parametrize("inner", OUTSIDE)
@pytest.mark.parametrize("store", ["s3://bucket/image.zarr", "image.zarr"])
def test_only_what_lies_in_the_store_has_a_place_there(tmp_path, monkeypatch, store, inner):
    monkeypatch.chdir(tmp_path)
    assert inside(store, "labels/0") == f"{store}/labels/0"
    with pytest.raises(FormatError, match="leads out of the store"):
        inside(store, inner)


@pytest.mark.parametrize("inner", OUTSIDE)
def test_neither_levels_nor_masks_of_an_image_lie_elsewhere(tmp_path, inner):
    write_image(tmp_path / "other.zarr")
    image = write_image(tmp_path / "image.zarr")
    edited(image, lambda attributes: attributes["unet_batch"].update(nodata_mask=inner))
    with pytest.raises(FormatError, match=r"leads out of the store"):
        print(Image.open(image).nodata_mask)
    edited(image, lambda attributes: attributes["ome"]["multiscales"][0]["datasets"][0].update(path=inner))
    with pytest.raises(FormatError, match=r"leads out of the store"):
        Image.open(image)


def test_links_of_levels_are_not_followed(tmp_path):
    write_image(tmp_path / "other.zarr")
    image = write_image(tmp_path / "image.zarr")
    (image / "0").rename(tmp_path / "moved")
    (image / "0").symlink_to(tmp_path / "other.zarr" / "0")
    with pytest.raises(FormatError, match="leads out of the store"):
        Image.open(image)
    (tmp_path / "link.zarr").symlink_to(tmp_path / "other.zarr")
    assert Image.open(tmp_path / "link.zarr").read(Box.of_shape((64, 64))).all(), "the caller's own link is"


@pytest.fixture
def masks(tmp_path):
    store = Masks.create(tmp_path / "masks.zarr", layout(), {})
    Ledger.create(store.path, (3, 2), 3).close()
    return tmp_path / "masks.zarr"


@pytest.mark.parametrize("name", ["journal.jsonl", "failures.log", "runs.jsonl", "lock", "status"])
def test_a_ledger_of_links_is_refused_before_anything_is_written(tmp_path, masks, name):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    place = masks / "ledger" / name
    if place.exists():
        place.rename(tmp_path / "away")
    place.symlink_to(victim)
    with pytest.raises(FormatError, match="a link"):
        Ledger.open(masks, writable=True)
    assert victim.read_text() == "precious"


def test_a_lock_is_no_link(tmp_path):
    (tmp_path / "victim").write_text("precious")
    store = tmp_path / "store"
    (store / "ledger").mkdir(parents=True)
    (store / "ledger" / "lock").symlink_to("../../victim")
    with pytest.raises(OutputError):
        OutputLock.inside(store / "ledger")
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_lock_is_not_made_through_a_link(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "ledger").symlink_to("../victim")
    with pytest.raises(FormatError, match="leads out of the store"):
        OutputLock.inside(tmp_path / "store" / "ledger")
    assert not [*(tmp_path / "victim").iterdir()]


@pytest.mark.parametrize("name", ["c", ".partial", "c/0"])
def test_nothing_is_written_or_removed_through_links(tmp_path, masks, name):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "0").write_text("precious")
    place = masks / "0" / name
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(victim)
    store, box = Masks.open(masks, writable=True), Box((0, 0), (512, 512))
    blocks = [
        np.zeros((1, *(-(-n // 2**k) for n in box.shape)), np.uint8) for k in range(store.one_pass_levels)
    ]
    with pytest.raises(FormatError, match="leads out of the store"):
        store.write_block(box, {"labels": blocks})
    store.clean_scratch()
    assert (victim / "0").read_text() == "precious"
    assert [file.name for file in victim.iterdir()] == ["0"]
