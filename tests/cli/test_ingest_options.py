"""Options of ingest and info that choose what of a file is read; cures that they print are followed."""

import re

import numpy as np
import pytest
import tifffile

from tests.cli.program import call
from unet_batch.store.image import Image


@pytest.mark.parametrize(("shape", "axes"), [((20, 30, 3), "yxc"), ((5, 20, 30), "zyx")])
def test_the_cure_for_axes_without_names_works(desk, shape, axes):
    np.save(desk / "a.npy", np.ones(shape, np.uint8))
    said = call("ingest", "a.npy", "new.zarr").refusal
    cure = re.search(r"--axes \w+", said)[0]
    assert cure == f"--axes {axes}"
    assert call("ingest", "a.npy", "new.zarr", *cure.split()).code == 0
    assert call("info", "a.npy", *cure.split(), "--json").json["shape"][-2:] == [20, 30]
    assert Image.open(desk / "new.zarr").shape[-2:] == (20, 30)


def test_another_series_is_chosen(desk):
    with tifffile.TiffWriter(desk / "a.ome.tif", ome=True) as file:
        for side in (16, 64, 32):
            file.write(np.zeros((side, side), np.uint8))
    answer = call("ingest", "a.ome.tif", "new.zarr")
    assert "series 1 (64 x 64) is read, not 0 (16 x 16), 2 (32 x 32); see --series" in answer.err
    assert call("info", "a.ome.tif", "--json").json["shape"] == [64, 64]
    assert call("info", "a.ome.tif", "--series", "2", "--json").json["shape"] == [32, 32]
    assert call("ingest", "a.ome.tif", "other.zarr", "--series", "2").code == 0
    assert Image.open(desk / "other.zarr").shape == (32, 32)
