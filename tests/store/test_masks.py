"""Masks: every kind round trips, blocks have checksums, metadata is valid and registered."""

import json
import pickle
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import zarr

from unet_batch.errors import DamageError, FormatError, InputError, MissingError, OutputError
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout
from unet_batch.store.layout import PyramidLayout
from unet_batch.store.masks import Masks, block_checksum
from unet_batch.store.masks_layout import MasksLayout
from unet_batch.tiling.box import Box

ATTRIBUTES = {"plan": {"hash": "abc"}}


def layout(**changes: object) -> MasksLayout:
    values = {
        "kind": "multiclass",
        "axes": "yx",
        "shape": (1100, 700),
        "block": (512, 512),
        "chunk": (128, 128),
        "dims": 2,
        "names": ("background", "cell", "border"),
    }
    return MasksLayout(**{**values, **changes})  # type: ignore[arg-type]


VOLUME = {"shape": (70, 40, 65), "axes": "zyx", "block": (64, 64, 64), "chunk": (32, 32, 32), "dims": 3}
STACK = {"shape": (2, 300, 270), "axes": "tyx", "block": (1, 512, 512), "chunk": (1, 128, 128)}
LAYOUTS = {
    "multiclass": layout(probabilities=True, confidence=True),
    "classes of uint16": layout(names=tuple(str(i) for i in range(251)), shape=(300, 20)),
    "multilabel stack": layout(kind="multilabel", probabilities=True, **STACK),
    "regression": layout(kind="regression", names=("depth", "height"), shape=(600, 20)),
    "volume": layout(confidence=True, **VOLUME),
    "one pixel": layout(shape=(1, 1), probabilities=True),
}


def blocks(masks: Masks) -> list[Box]:
    shape, block = masks.layout.shape, masks.layout.block
    return [
        Box(start, tuple(min(a + b, n) for a, b, n in zip(start, block, shape, strict=True)))
        for start in product(*(range(0, n, b) for n, b in zip(shape, block, strict=True)))
    ]


def whole(masks: Masks, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    out = {}
    for name, layer in masks.layers.items():
        shape = (layer.layout.channels, *layer.layout.shape)
        high = len(masks.layout.names) if name == "labels" and masks.layout.kind == "multiclass" else 2
        out[name] = rng.integers(0, high, shape).astype(layer.layout.dtype)
        out[name][rng.random(shape) < 0.1] = layer.layout.fill
    return out


def levels(masks: Masks, pixels: dict[str, np.ndarray], box: Box) -> dict[str, list[np.ndarray]]:
    return {
        name: layer.halved(pixels[name][(slice(None), *box.slices)], masks.layout.halve(name))
        for name, layer in masks.layers.items()
    }


def fill(masks: Masks) -> dict[Box, int]:
    pixels = whole(masks)
    return {box: masks.write_block(box, levels(masks, pixels, box)) for box in blocks(masks)}


@pytest.mark.parametrize("given", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_blocks_and_levels_read_back(tmp_path, given):
    masks = Masks.create(tmp_path / "m.zarr", given, ATTRIBUTES)
    checksums = fill(masks)
    masks.finish()
    again = pickle.loads(pickle.dumps(Masks.open(tmp_path / "m.zarr")))
    assert again.attributes == ATTRIBUTES
    assert again.layout == given
    assert {box: again.block_checksum(box) for box in checksums} == checksums
    for name, pixels in whole(masks).items():
        expected = pixels
        for level in range(given.layer(name).level_count):
            box = Box.of_shape(given.layer(name).shape_at(level))
            np.testing.assert_array_equal(again.read(box, level, name), expected)
            expected = given.halve(name)(expected)
    assert not list((tmp_path / "m.zarr").rglob(".partial"))


@pytest.mark.parametrize("given", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_layer_opens_as_a_valid_image(tmp_path, given):
    models = pytest.importorskip("ome_zarr_models.v05")
    masks = Masks.create(tmp_path / "m.zarr", given, ATTRIBUTES)
    for name, layer in masks.layers.items():
        path = tmp_path / "m.zarr" if name == "labels" else tmp_path / "m.zarr" / name
        kind = models.ImageLabel if name == "labels" and given.kind != "regression" else models.Image
        kind.from_zarr(zarr.open_group(path, mode="r"))
        image = Image.open(path)
        assert (image.shape, image.channels) == (given.shape, layer.layout.channels)
        if "c" in image.axes:
            assert image.channel_names == given.names


def test_types_and_fills():
    assert [(layout(names=("x",) * n).dtype, layout(names=("x",) * n).fill) for n in (250, 251)] == [
        ("uint8", 255),
        ("uint16", 65535),
    ]
    assert np.isnan(layout(kind="regression").fill)
    assert layout(kind="multilabel").dtype == "uint8"


def test_labels_are_registered_in_their_image(tmp_path):
    models = pytest.importorskip("ome_zarr_models.v05")
    path = tmp_path / "image.zarr"
    pyramid = PyramidLayout("cyx", (300, 200), 2, "uint8", (256, 256), (128, 128), 2)
    writer = Image.create(path, ImageLayout(pyramid))
    writer.finish()
    for name in ("cells", "nuclei"):
        given = layout(shape=(300, 200), levels=pyramid.level_count)
        Masks.create(path / "labels" / name, given, ATTRIBUTES)
    group = zarr.open_group(path, mode="r")
    assert group["labels"].attrs["ome"]["labels"] == ["cells", "nuclei"]
    label = group["labels/cells"].attrs["ome"]["image-label"]
    assert label["source"] == {"image": "../../"}
    assert {"label-value": 255, "rgba": [0, 0, 0, 0]} in label["colors"]
    assert {"label-value": 1, "name": "cell"} in label["properties"]
    image = models.Image.from_zarr(group)
    assert image.labels.label_paths == ["cells", "nuclei"]
    io, reader = pytest.importorskip("ome_zarr.io"), pytest.importorskip("ome_zarr.reader")
    nodes = list(reader.Reader(io.parse_url(str(path / "labels" / "cells")))())
    assert any(node.data and node.data[0].shape == (300, 200) for node in nodes)


def test_images_that_cannot_hold_labels(tmp_path):
    zarr.create_group(tmp_path / "old.zarr", zarr_format=2)
    with pytest.raises(InputError, match=r"OME-Zarr 0\.4"):
        Masks.create(tmp_path / "old.zarr/labels/a", layout(), ATTRIBUTES)
    zarr.create_group(tmp_path / "plain.zarr")
    with pytest.raises(InputError, match="no OME-Zarr image"):
        Masks.create(tmp_path / "plain.zarr/labels/a", layout(), ATTRIBUTES)
    pyramid = PyramidLayout("yx", (1100, 700), 1, "uint8", (256, 256), (128, 128), 2)
    Image.create(tmp_path / "image.zarr", ImageLayout(pyramid)).finish()
    with pytest.raises(InputError, match="outside the image"):
        Masks.create(tmp_path / "image.zarr/labels/a", layout(kind="regression"), ATTRIBUTES)
    Masks.create(tmp_path / "labels/a", layout(), ATTRIBUTES)  # a folder that only has the name


def test_a_lost_shard_changes_the_checksum(tmp_path):
    masks = Masks.create(tmp_path / "m.zarr", layout(confidence=True), ATTRIBUTES)
    checksums = fill(masks)
    box = Box((512, 0), (1024, 512))
    for lost in ("0/c/1/0", "1/c/1/0", "confidence/0/c/1/0"):
        file = tmp_path / "m.zarr" / lost
        kept = file.read_bytes()
        file.unlink()
        assert masks.block_checksum(box) != checksums[box]
        file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(DamageError):
            masks.block_checksum(box)
        file.write_bytes(kept)
        assert masks.block_checksum(box) == checksums[box]


def test_a_block_of_foreign_nans_keeps_its_checksum(tmp_path):
    masks = Masks.create(tmp_path / "m.zarr", layout(kind="regression", shape=(64, 64)), ATTRIBUTES)
    negative = np.full((3, 64, 64), 0xFFC00000, np.uint32).view(np.float32)  # NaN as x86 makes it
    box = Box.of_shape((64, 64))
    crc = masks.write_block(box, levels(masks, {"labels": negative}, box))
    assert Masks.open(masks.path).block_checksum(box) == crc


def test_checksums_see_every_pixel_and_the_order():
    a = np.zeros((1, 4, 4), np.uint8)
    b = a.copy()
    b[0, 3, 3] = 1
    sums = {
        block_checksum({"labels": [a], "x": [b]}),
        block_checksum({"labels": [b], "x": [a]}),
        block_checksum({"labels": [a], "x": [a]}),
    }
    assert len(sums) == 3
    assert block_checksum({"x": [b], "labels": [a]}) in sums
    assert block_checksum({"labels": [np.asfortranarray(b)]}) == block_checksum({"labels": [b]})


def test_blocks_of_the_wrong_form_are_refused(tmp_path):
    masks = Masks.create(tmp_path / "m.zarr", layout(confidence=True), ATTRIBUTES)
    box = Box((0, 0), (512, 512))
    right = levels(masks, whole(masks), box)
    with pytest.raises(ValueError, match="has layers"):
        masks.write_block(box, {"labels": right["labels"]})
    with pytest.raises(ValueError, match="levels"):
        masks.write_block(box, {**right, "labels": right["labels"][:1]})
    with pytest.raises(ValueError, match="takes"):
        masks.write_block(box, {**right, "labels": [right["labels"][0][0], *right["labels"][1:]]})


def test_finish_follows_a_repair_and_drops_what_is_gone(tmp_path):
    given = layout(shape=(1024, 1024))
    masks = Masks.create(tmp_path / "m.zarr", given, ATTRIBUTES)
    top = given.layer("labels").level_count - 1
    assert top >= masks.one_pass_levels
    top_box = Box.of_shape(given.layer("labels").shape_at(top))
    for value in (1, 2, 255):
        for box in blocks(masks):
            pixels = {"labels": np.full((1, 1024, 1024), value, np.uint8)}
            masks.write_block(box, levels(masks, pixels, box))
        masks.finish()
        assert (masks.read(top_box, top) == value).all()


def test_places_that_are_no_masks(tmp_path):
    with pytest.raises(MissingError):
        Masks.open(tmp_path / "nothing")
    zarr.create_group(tmp_path / "group")
    with pytest.raises(FormatError, match="no mask store"):
        Masks.open(tmp_path / "group")
    Masks.create(tmp_path / "m.zarr", layout(), ATTRIBUTES)
    with pytest.raises(OutputError, match="exists already"):
        Masks.create(tmp_path / "m.zarr", layout(), ATTRIBUTES)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file is in the way"):
        Masks.create(tmp_path / "file", layout(), ATTRIBUTES)


@pytest.mark.parametrize(
    "change", [{"kind": "x"}, {"names": []}, {"shape": [1]}, {"dims": 7}, {"axes": 3}, None]
)
def test_hostile_layouts_are_one_clear_error(tmp_path, change):
    Masks.create(tmp_path / "m.zarr", layout(), ATTRIBUTES)
    file = tmp_path / "m.zarr" / "zarr.json"
    metadata = json.loads(file.read_text())
    own = metadata["attributes"]
    own["masks"] = None if change is None else {**own["masks"], **change}
    file.write_text(json.dumps(metadata))
    with pytest.raises(FormatError, match="no mask store") as caught:
        Masks.open(tmp_path / "m.zarr")
    assert "\n" not in str(caught.value)


def test_an_interrupted_creation_is_begun_anew(tmp_path: Path):
    Masks.create(tmp_path / "m.zarr", layout(), ATTRIBUTES)
    (tmp_path / "m.zarr" / "zarr.json").unlink()
    with pytest.raises(FormatError):
        Masks.open(tmp_path / "m.zarr")
    assert Masks.create(tmp_path / "m.zarr", layout(), {"plan": 2}).attributes == {"plan": 2}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"axes": "cyx"}, "leave c out"),
        ({"names": ()}, "1 to 65534"),
        ({"colours": ((1, 2, 3, 4),)}, "one each or none"),
        ({"kind": "regression", "confidence": True}, "leave them off"),
    ],
)
def test_layouts_that_cannot_be(changes, said):
    with pytest.raises(InputError, match=said):
        layout(**changes)
