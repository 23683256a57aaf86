"""What a page shows of the paths that a person names."""

import json

import numpy as np
import pytest

from tests.products.worlds import write_masks
from tests.viewing.worlds import write_labels, write_picture
from unet_batch.errors import FormatError, InputError, MissingError
from unet_batch.store.image import Image
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box
from unet_batch.viewing.config import ViewConfig
from unet_batch.viewing.scene import Scene
from unet_batch.viewing.virtual import VirtualPyramid, difference


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    image, pixels = write_picture(folder)
    return image, pixels, write_labels(image, pixels)


def names(scene):
    return [layer.name for layer in scene.layers]


def state_of(*paths, **keys):
    scene = Scene.open(paths, ViewConfig(**keys))
    return scene.state([f"http://h/{k}/" for k in range(len(scene.layers))])


def test_an_image_brings_its_labels_and_labels_their_image(world):
    image, _, labels = world
    assert names(Scene.open([image], ViewConfig())) == ["image.zarr", "cells"]
    assert names(Scene.open([labels], ViewConfig())) == ["image.zarr", "cells"]
    assert names(Scene.open([image, labels], ViewConfig())) == ["image.zarr", "cells"]


def test_classes_have_their_colours_and_the_background_none(world):
    layer = state_of(world[0])["layers"][1]
    assert layer["type"] == "segmentation"
    assert layer["segments"] == ["1", "2"]
    assert set(layer["segmentColors"]) == {"1", "2"}


def test_position_and_zoom_are_the_callers(world):
    state = state_of(world[0], position=(10, 30), zoom=4)
    assert (state["position"], state["crossSectionScale"]) == ([30, 10], 0.25)
    assert state_of(world[0])["position"] == [63.5, 47.5]
    with pytest.raises(InputError, match="give 2, for the axes yx"):
        Scene.open([world[0]], ViewConfig(position=(1, 2, 3)))


def test_outlines_lie_on_the_pixels(world, tmp_path):
    ring = [[50, 20], [80, 20], [80, 40], [50, 40], [50, 20]]  # columns and rows, from the outer corner
    feature = {
        "type": "Feature",
        "properties": {"classification": {"name": "cell"}},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    path = tmp_path / "o.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature, feature]}))
    layer = state_of(world[0], path)["layers"][-1]
    assert layer["annotations"][0]["points"][0] == [19.5, 49.5]
    assert layer["annotations"][0]["description"] == "cell"
    with pytest.raises(InputError, match="set `most_polygons` higher"):
        Scene.open([world[0], path], ViewConfig(most_polygons=1))


def test_a_difference_marks_where_masks_differ(world, tmp_path):
    image, pixels, one = world
    labels = (pixels > 0).astype(np.uint8)
    labels[25, 60] = 2
    other = write_masks(tmp_path / "other.zarr", labels, levels=len(Image.open(one).levels))
    found = difference(Masks.open(one), Masks.open(other))
    marked = found.compute(0, Box.of_shape(pixels.shape))
    assert np.argwhere(marked).tolist() == [[25, 60]]
    scene = Scene.open([image, other], ViewConfig(), differing=True)
    assert names(scene)[-1] == "cells against other.zarr"
    with pytest.raises(InputError, match="two masks of classes"):
        Scene.open([one], ViewConfig(), differing=True)
    small = write_masks(tmp_path / "small.zarr", labels[:50])
    with pytest.raises(InputError, match="other shapes"):
        difference(Masks.open(one), Masks.open(small))


def test_a_virtual_store_is_read_like_any_other(world, tmp_path):
    _, pixels, labels = world
    like = Image.open(labels)
    virtual = VirtualPyramid(like, (40, 50), lambda level, box: pixels[:: 2**level, :: 2**level][box.slices])
    for level, one in enumerate(like.levels):
        for index in np.ndindex(*(-(-n // c) for n, c in zip(one.shape, (40, 50), strict=True))):
            path = tmp_path / "v.zarr" / f"{level}/c/{index[0]}/{index[1]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(virtual.read(f"{level}/c/{index[0]}/{index[1]}"))
        (tmp_path / "v.zarr" / f"{level}/zarr.json").write_bytes(virtual.read(f"{level}/zarr.json"))
    (tmp_path / "v.zarr/zarr.json").write_bytes(virtual.read("zarr.json"))
    found = Image.open(tmp_path / "v.zarr")
    assert [level.shape for level in found.levels] == [level.shape for level in like.levels]
    np.testing.assert_array_equal(found.read(Box.of_shape(pixels.shape))[0], pixels)
    for path in ("0/c/9/9", "7/zarr.json", "7/c/0/0", "0/c/0", "../zarr.json", "0/c/0/0/0", ""):
        assert virtual.read(path) is None


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("none.zarr", MissingError, "no such file"),
        ("s3://bucket/image.zarr", InputError, "not on this machine"),
        ("table.parquet", InputError, "without their store before it"),
        ("o.geojson", InputError, "give the image that it belongs to"),
    ],
)
def test_what_cannot_be_shown_is_one_line(tmp_path, path, kind, words):
    if path.endswith(("geojson", "parquet")):
        (tmp_path / path).write_text("{}")
    with pytest.raises(kind, match=words):
        Scene.open([path if "://" in path else tmp_path / path], ViewConfig())


def test_a_table_that_is_none(world, tmp_path):
    objects = write_masks(
        tmp_path / "objects.zarr", (world[1] > 0).astype(np.uint32), names=("object",), kind="instances"
    )
    (tmp_path / "t.parquet").write_text("no table")
    with pytest.raises(FormatError, match="no table of objects"):
        Scene.open([objects, tmp_path / "t.parquet"], ViewConfig())
