"""Tissue is found without a threshold, and blocks without any are left out."""

import numpy as np
import pytest
import tifffile

from tests.formats.foreign_files import sample
from tests.worlds import noise, write_image, write_network
from unet_batch.errors import InputError
from unet_batch.formats.image import open_image
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.prediction.tissue import Tissue, tissue_of
from unet_batch.store.masks import Masks
from unet_batch.tiling import BlockGrid

FAST = {"workers": 0, "block": 64, "tile": 64, "precision": "fp32", "backend": "eager"}
GLASS, EOSIN, NUCLEUS = (243, 242, 244), (225, 150, 190), (90, 60, 140)


def slide():
    """Glass with grain, an island of eosin with nuclei in it, pen marks, a speck and a dark rim."""
    grain = np.random.default_rng(0).integers(-2, 3, (256, 192, 3))
    pixels = np.array(GLASS) + grain
    pixels[64:120, 70:125] = EOSIN
    pixels[80:84, 80:84] = NUCLEUS
    pixels[90:96, 100:106] = GLASS  # a hole
    pixels[140:180, 4:24] = (20, 60, 190)  # blue pen
    pixels[140:180, 40:60] = (40, 140, 60)  # green pen
    pixels[200, 100] = EOSIN  # a speck
    pixels[250:] = 15
    return pixels.astype("uint8")


@pytest.fixture
def file(tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", slide(), photometric="rgb", tile=(64, 64))
    return tmp_path / "s.tif"


def test_tissue_is_told_from_glass_pen_specks_and_rims():
    found = tissue_of(slide().transpose(2, 0, 1))
    assert found[64:120, 70:125].all()
    far = np.ones(found.shape, bool)
    far[60:124, 66:129] = False
    assert not found[far].any()


def test_all_tissue_and_all_glass():
    assert tissue_of(np.full((3, 40, 40), 1, "uint8") * np.array(EOSIN, "uint8")[:, None, None]).all()
    assert not tissue_of(slide()[:50].transpose(2, 0, 1)).any()


def test_blocks_without_tissue(file):
    found = Tissue.of(open_image(file), (0, 1, 2))
    empty = found.without(BlockGrid((256, 192), (64, 64)))
    assert not empty[1, 1]
    assert empty[2].all()
    assert empty[3].all()


def test_a_prediction_leaves_glass_out_and_keeps_the_share(file, tmp_path):
    net = write_network(tmp_path / "n.safetensors", depth=1, in_channels=3)[0]
    status = predict(file, tmp_path / "t.zarr", net, PredictConfig(**FAST, skip_background="tissue"))
    predict(file, tmp_path / "o.zarr", net, PredictConfig(**FAST))
    assert status.blocks["skipped"] >= 6
    masks, whole = Masks.open(tmp_path / "t.zarr"), Masks.open(tmp_path / "o.zarr")
    assert masks.attributes["tissue_share"] == pytest.approx(57 * 59 / 256 / 192, rel=0.1)
    box = BlockGrid((256, 192), (64, 64)).box((1, 1))
    np.testing.assert_array_equal(masks.read(box), whole.read(box))


def test_what_is_no_stained_slide_is_refused(tmp_path):
    write_image(tmp_path / "i.zarr", noise((64, 64)), "yx")
    with pytest.raises(InputError, match="red, green and blue"):
        Tissue.of(open_image(tmp_path / "i.zarr"), (0,))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("d_wsi/CMU-1-Small-Region.svs", 0.3, 0.45),
        ("r_vendor_formats/dicom_wsi_cptac-brca_level.dcm", 0.2, 0.3),
        ("d_wsi/OS-1-detail.ome.tif", 0.97, 1.0),
    ],
)
def test_shares_of_real_slides(name, low, high):
    assert low <= Tissue.of(open_image(sample(name)), (0, 1, 2)).share <= high
