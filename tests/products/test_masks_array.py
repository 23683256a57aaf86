"""Masks as xarray arrays: lazily read, with coordinates and what the numbers mean."""

import dask.array
import numpy as np
import pytest

import unet_batch
from tests.products.worlds import NAMES, blobs, write_masks
from unet_batch.errors import InputError, MissingError
from unet_batch.store.arrays import Array
from unet_batch.store.georef import GeoReference
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

SHAPE = (90, 70)


@pytest.fixture
def labels():
    return blobs(SHAPE, 3)


def test_pixels_are_read_when_they_are_asked_for(tmp_path, labels, monkeypatch):
    masks = write_masks(tmp_path / "m", labels, pixel_size={"y": 0.5, "x": 0.25}, unit="micrometer")
    read, boxes = Array.read, []
    monkeypatch.setattr(Array, "read", lambda self, box: boxes.append(box) or read(self, box))
    found = unet_batch.open_masks(masks)
    assert not boxes
    assert isinstance(found.data, dask.array.Array)
    np.testing.assert_array_equal(found[40:60:3, 5], labels[40:60:3, 5])
    assert sum(np.prod(box.shape) for box in boxes) < labels.size / 4
    np.testing.assert_array_equal(found[::-1], labels[::-1])
    np.testing.assert_array_equal(found.sel(x=2.5, y=[1.0, 10.0]), labels[[2, 20], 10])
    assert found.dims == ("y", "x")
    assert found.attrs == {
        "classes": list(NAMES), "kind": "multiclass", "nodata": 255, "level": 0,
        "pixel_size": {"y": 0.5, "x": 0.25}, "unit": "micrometer",
    }  # fmt: skip


def test_coarse_levels_lie_where_their_pixels_do(tmp_path, labels):
    masks = write_masks(tmp_path / "m", labels, pixel_size={"y": 0.5, "x": 0.25}, unit="micrometer")
    found = unet_batch.open_masks(masks, level=1)
    np.testing.assert_array_equal(found, Masks.open(masks).read(Box.of_shape((45, 35)), 1)[0])
    assert found.y[:2].values.tolist() == [0.25, 1.25]
    assert found.attrs["pixel_size"] == {"y": 1.0, "x": 0.5}


def test_on_a_map_coordinates_are_those_of_the_map(tmp_path, labels):
    utm = GeoReference("EPSG:32633", (10.0, 0, 500000.0, 0, -10.0, 5000000.0))
    found = unet_batch.open_masks(write_masks(tmp_path / "m", labels, georef=utm))
    assert found.attrs["crs"] == "EPSG:32633"
    assert (float(found.x[0]), float(found.y[1])) == (500005.0, 4999985.0)


def test_channels_have_the_names_of_classes(tmp_path, labels):
    several = np.stack([labels == 1, labels == 2]).astype("u1")
    found = unet_batch.open_masks(write_masks(tmp_path / "m", several, names=NAMES[1:], kind="multilabel"))
    np.testing.assert_array_equal(found.sel(c="debris"), labels == 2)


def test_what_is_not_there_is_told(tmp_path, labels):
    masks = write_masks(tmp_path / "m", labels)
    with pytest.raises(InputError, match="no level 9; its levels are 0 to"):
        unet_batch.open_masks(masks, level=9)
    with pytest.raises(InputError, match="no layer 'confidence'; choose among labels"):
        unet_batch.open_masks(masks, layer="confidence")
    with pytest.raises(MissingError):
        unet_batch.open_masks(tmp_path / "none")
