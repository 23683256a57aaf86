# Every cure that an error prints is one that works: error -> command -> success.

import re
import shlex

import numpy as np
import pytest
import zarr
from PIL import Image as Pillow

from tests.cli.program import SERIAL, call, settings

PREDICT = ("--model", "net.safetensors", *settings(*SERIAL), "-q")


def save_grey(desk):
    np.save(desk / "three.npy", np.zeros((4, 40, 50), np.uint8))


def save_mask(desk):
    mask = np.zeros((150, 201), np.uint8)
    mask[:50] = 255
    Pillow.fromarray(mask).save(desk / "mask.png")


def save_plain(desk):
    zarr.create_array(desk / "plain.zarr", data=np.zeros((3, 40, 50), np.uint8), chunks=(3, 40, 50))


def nothing(desk):
    """The template is enough."""


# What is written first, the call that fails, the part of its line that is the cure (added to the call, or a
# call of its own where it begins with unet-batch), and what it replaces in the call.
CURES = {
    "axes of a .npy": (save_grey, "ingest three.npy out.zarr -q", r"--axes \w+", {}),
    "axes of a plain array": (
        save_plain, f"predict plain.zarr out.zarr {shlex.join(PREDICT)}", r"--axes cyx", {},
    ),
    "an output in the way": (nothing, "ingest rgb.png image.zarr -q", r"--overwrite", {}),
    "a mask of 0 and 255": (save_mask, "ingest labels mask.png out.zarr -q", r"--map '255=1'", {}),
    "a misspelt setting": (
        nothing, "ingest rgb.png out.zarr -q --set blok=64", r"`block`", {"blok": "block"},
    ),
    "a foreign image": (
        nothing, "evaluate done.zarr rgb.png", r"unet-batch ingest rgb.png TRUTH.zarr", {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CURES)
def test_a_printed_cure_works(desk, name):
    prepare, words, pattern, swapped = CURES[name]
    prepare(desk)
    failed = call(*shlex.split(words))
    assert failed.code == 2
    found = re.search(pattern, failed.refusal)
    assert found, failed.refusal
    cure = shlex.split(found[0])
    if swapped:
        for wrong, right in swapped.items():
            words = words.replace(wrong, right)
        cured = call(*shlex.split(words))
    elif cure[0] == "unet-batch":
        cured = call(*cure[1:], "-q")
    else:
        cured = call(*shlex.split(words), *cure)
    assert cured.code == 0, cured
