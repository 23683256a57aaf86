# Masks that people have become labels: 0 and 255, colours, instance numbers; every printed cure is tried.

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import zarr
from PIL import Image as Pillow

import unet_batch
from tests.cli.program import call
from unet_batch.errors import ConfigError, InputError
from unet_batch.ingestion.labels.palette import read_colours
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

RED, BLUE = (255, 0, 0), (0, 0, 255)


def read(path):
    masks = Masks.open(path)
    return masks.read(Box.of_shape(masks.layout.shape))[0]


@pytest.fixture
def binary(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mask = np.zeros((40, 50), np.uint8)
    mask[10:30, 5:20] = 255
    Pillow.fromarray(mask).save("mask.png")
    return mask


@pytest.fixture
def coloured(binary):
    picture = np.zeros((40, 50, 3), np.uint8)
    picture[binary > 0] = RED
    picture[35:] = BLUE
    Pillow.fromarray(picture).save("rgb.png")
    return np.where(binary > 0, 1, 0) + 2 * (np.arange(40) >= 35)[:, None]


def ingest(*words):
    return call("ingest", "labels", *words, "out.zarr", "--workers", 0, "--quiet")


def test_a_mask_of_0_and_255_is_refused_with_the_call_that_reads_it(binary):
    said = ingest("mask.png").refusal
    assert "255 means unlabelled" in said
    cure = re.search(r"(--map '255=1')", said)[1]
    assert ingest("mask.png", *shlex.split(cure), "--set", "classes=[ground, cell]").code == 0
    assert (read("out.zarr") == (binary > 0)).all()
    assert Masks.open("out.zarr").layout.names == ("ground", "cell")


def test_classes_are_named_by_the_map_and_null_is_unlabelled(binary):
    told = json.loads(ingest("mask.png", "--map", "0=null,255=cell", "--json").out)
    assert (told["classes"], told["unlabelled"]) == (["cell"], int((binary == 0).sum()))
    assert (read("out.zarr") == np.where(binary > 0, 0, 255)).all()


@pytest.mark.parametrize("name", ["grey in three channels", "bool in Zarr"])
def test_other_ways_to_store_two_values(binary, name):
    if name == "bool in Zarr":
        zarr.save_array("mask.zarr", binary > 0)
        found = ingest("mask.zarr")
    else:
        Pillow.fromarray(np.repeat(binary[..., None], 3, axis=2)).save("three.png")
        found = ingest("three.png", "--map", "255=1")
    assert found.code == 0
    assert (read("out.zarr") == (binary > 0)).all()


def test_colours_become_classes_and_come_back_as_colours(coloured):
    Path("colours.csv").write_text("name,r,g,b\nground,0,0,0\ncell,255,0,0\nwater,0,0,255\n")
    assert "--colours FILE" in ingest("rgb.png").refusal
    assert ingest("rgb.png", "--colours", "colours.csv").code == 0
    assert (read("out.zarr") == coloured).all()
    assert Masks.open("out.zarr").layout.colours[1:] == ((*RED, 255), (*BLUE, 255))


def test_colours_that_are_not_listed_are_named_and_may_be_unlabelled_or_near(coloured):
    Path("few.yaml").write_text("ground: '#000000'\ncell: [250, 4, 0]\n")
    words = ("rgb.png", "--colours", "few.yaml")
    assert "#0000ff, #ff0000" in ingest(*words).refusal
    assert ingest(*words, "--set", "unlabelled=[0, 0, 255]", "--set", "tolerance=8").code == 0
    assert (read("out.zarr") == np.where(coloured == 2, 255, coloured)).all()


def test_transparent_pixels_have_no_label(binary):
    picture = np.zeros((40, 50, 4), np.uint8)
    picture[..., 3] = np.where(binary > 0, 255, 0)
    Pillow.fromarray(picture).save("alpha.png")
    unet_batch.ingest_labels(
        "alpha.png", "out.zarr", unet_batch.LabelsConfig(colours={"ground": "black"}, workers=0)
    )
    assert (read("out.zarr") == np.where(binary > 0, 0, 255)).all()


def test_instance_numbers_stay_as_they_are(binary, tmp_path):
    numbers = np.zeros((40, 50), np.uint16)
    numbers[3:9], numbers[20:30, 4:9] = 700, 3
    Pillow.fromarray(numbers).save("numbers.png")
    assert ingest("numbers.png", "--set", "instances=true").code == 0
    assert (read("out.zarr") == numbers).all()
    assert Masks.open("out.zarr").layout.kind == "instances"


def test_a_value_that_is_no_class_is_named_with_a_cure_that_works(binary):
    Pillow.fromarray(np.where(binary > 0, 7, 0).astype(np.uint8)).save("seven.png")
    words = ("seven.png", "--set", "classes=[ground, cell]")
    cure = re.search(r"(--map '7=1')", ingest(*words).refusal)[1]
    assert ingest(*words, *shlex.split(cure)).code == 0
    assert (read("out.zarr") == (binary > 0)).all()


def test_photographs_and_floats_are_no_labels(binary):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Pillow.fromarray(noise).save("photo.png")
    assert "looks like a photograph" in ingest("photo.png", "--set", "colours={a: black}").refusal
    np.save("float.npy", np.zeros((4, 5)))
    assert "float64" in ingest("float.npy").refusal


@pytest.mark.parametrize("text", ["", "name,r,g,b\n", "a,1,2\nb,x,y,z\n", "a,0,0,0\na,1,1,1\n"])
def test_a_file_of_colours_that_says_none_is_refused(tmp_path, text):
    (tmp_path / "colours.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"colours.csv"):
        read_colours(tmp_path / "colours.csv")


def test_settings_that_contradict_each_other(binary):
    assert "give one of them" in ingest("mask.png", "--map", "255=1", "--set", "colours={a: red}").refusal
    assert "write VALUE=CLASS" in ingest("mask.png", "--map", "cell").refusal
    with pytest.raises(InputError, match="no pixel has a class"):
        unet_batch.ingest_labels(
            "mask.png", "out.zarr", unet_batch.LabelsConfig(map={0: None, 255: None}, workers=0)
        )
