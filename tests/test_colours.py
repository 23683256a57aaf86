# Colours by name: of common classes, of the network and of settings, from the masks to every export.

import numpy as np
import pytest
import rasterio

import unet_batch
from tests.worlds import noise, write_image, write_network
from unet_batch.errors import ConfigError, InputError
from unet_batch.products.preview.font import drawable, font_of
from unet_batch.store.masks import Masks
from unet_batch.store.ome import class_colours

SERIAL = {"workers": 0, "backend": "eager", "precision": "fp32", "block": 64, "tile": 32, "threads": 1}


def test_water_is_blue_and_no_two_classes_are_alike():
    names = ("background", "water", "forest", "trees", "a", "b", "lake")
    colours = class_colours(names)
    red, green, blue, _ = colours[1]
    assert blue > max(red, green)
    assert colours[2][1] > max(colours[2][0], colours[2][2])
    assert len(set(colours)) == len(names)


@pytest.mark.parametrize("written", ["#ff8000", "ff8000", "255, 128, 0", [255, 128, 0]])
def test_a_colour_is_written_as_people_do(written):
    assert unet_batch.PredictConfig(colours={"a": written}).colours == (("a", (255, 128, 0)),)


def test_what_is_no_colour_is_one_line():
    with pytest.raises(ConfigError, match="colours"):
        unet_batch.PredictConfig(colours={"a": "reddish"})


def test_colours_of_network_and_settings_reach_masks_and_exports(tmp_path):
    path, _, spec = write_network(tmp_path / "net.safetensors", depth=1, colours={"a": "red", "b": "#010203"})
    assert unet_batch.load_checkpoint(path)[1].colours == spec.colours
    image = write_image(tmp_path / "image.zarr", noise((64, 64)), "yx")
    settings = {**SERIAL, "colours": {"b": "blue"}}
    unet_batch.predict(image, tmp_path / "masks.zarr", path, settings)
    colours = Masks.open(tmp_path / "masks.zarr").layout.colours
    assert colours[:2] == ((255, 0, 0, 255), (0, 0, 255, 255))
    unet_batch.export(tmp_path / "masks.zarr", tmp_path / "masks.tif", {"workers": 0})
    with rasterio.open(tmp_path / "masks.tif") as raster:
        assert raster.colormap(1)[1] == (0, 0, 255, 255)
    with pytest.raises(InputError, match="c2 is no class"):
        unet_batch.predict(image, tmp_path / "other.zarr", path, {**SERIAL, "colours": {"c2": "blue"}})


def test_units_are_drawn_without_boxes():
    font = font_of(16)
    assert drawable("100 µm, 3 mm²", font) in ("100 µm, 3 mm²", "100 um, 3 mm2")
    box = bytes(font.getmask("\U0010fffe"))
    assert not [letter for letter in drawable("µ²日", font) if bytes(font.getmask(letter)) == box]
    assert np.asarray(font.getmask("µ") if "µ" in drawable("µ", font) else font.getmask("u")).any()
