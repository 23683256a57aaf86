"""Restained pictures: nuclei stay where they are, whatever they and their surroundings are stained with."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.augment.test_augment import batch_of, made, noise, spec_of
from unet_batch.errors import InputError
from unet_batch.models.normalise import Affine
from unet_batch.training.augment.augment import Augment
from unet_batch.training.augment.config import AugmentConfig
from unet_batch.training.augment.restain import Restainer

SURE = AugmentConfig.model_validate({"restain": {"probability": 1}})
PERCENTILES = {"normalisation": {"percentiles": [1, 99]}}


def nuclei(bright):
    """Two nuclei with texture in a picture (3, 48, 48), and where they are."""
    inside = torch.zeros(48, 48, dtype=torch.bool)
    inside[8:18, 8:20] = inside[30:40, 26:40] = True
    levels = (220.0, 10.0) if bright else (90.0, 230.0)
    grain = torch.from_numpy(np.random.default_rng(0).normal(0, 4, (48, 48))).float()
    grey = torch.where(inside, *levels) + grain
    return grey.clamp(0, 255).expand(3, 48, 48), inside


def redrawn(bright, seed):
    rgb, inside = nuclei(bright)
    return Restainer(torch.Generator().manual_seed(seed))(rgb, inside), inside


@pytest.mark.parametrize("bright", [False, True])
def test_nuclei_differ_in_colour_from_what_surrounds_them_in_nearly_every_slide(bright):
    apart = []
    for seed in range(30):
        drawn, inside = redrawn(bright, seed)
        assert drawn.shape == (3, 48, 48)
        assert drawn.min() >= 0
        assert drawn.max() <= 255
        apart.append(float((drawn[:, inside].mean(1) - drawn[:, ~inside].mean(1)).abs().max()))
    assert np.median(apart) > 30
    assert np.quantile(apart, 0.1) > 10


def test_slides_are_blue_brown_and_pink():
    drawn = torch.stack([redrawn(False, seed)[0].mean(dim=(1, 2)) for seed in range(40)])
    red, green, blue = drawn.T
    assert (red - blue > 40).any()  # DAB
    assert (blue - red > 10).any()  # haematoxylin alone
    assert (torch.minimum(red, blue) - green > 15).any()  # eosin


def test_the_seed_decides():
    assert torch.equal(redrawn(True, 3)[0], redrawn(True, 3)[0])
    assert not torch.equal(redrawn(True, 3)[0], redrawn(True, 4)[0])


@pytest.mark.parametrize("value", [0, 12, 128, 255])
def test_plain_pictures_without_nuclei_and_full_of_one_stay_finite(value):
    plain = torch.full((3, 16, 16), float(value))
    for inside in (torch.zeros(16, 16, dtype=torch.bool), torch.ones(16, 16, dtype=torch.bool)):
        assert torch.isfinite(Restainer(torch.Generator().manual_seed(0))(plain, inside)).all()


def test_samples_are_restained_and_normalised_by_what_they_became():
    config = {"restain": {"probability": 1}}
    spec = spec_of(channels=3, padding="same", **PERCENTILES)
    images = noise((4, 3, 32, 32))
    labels = images[:, :1] % 3
    batch = replace(batch_of(images, labels), affines=(Affine((0.0,) * 3, (1 / 250,) * 3),) * 4)
    plain = Augment(AugmentConfig(), spec_of(channels=3, padding="same"), (32, 32))(batch, "cpu")
    sample = Augment(AugmentConfig.model_validate(config), spec, (32, 32))(batch, "cpu")
    assert torch.equal(sample.labels, plain.labels)
    # The bright end of each channel is at 1, or below where the slide has white places outside the sample.
    top = torch.quantile(sample.images.flatten(2), 0.99, dim=2)
    assert ((top > 0.2) & (top < 1.01)).all()


def test_restaining_is_for_flat_8_bit_rgb_and_classes():
    with pytest.raises(InputError, match="needs flat RGB images"):
        Augment(SURE, spec_of(), (8, 8))
    with pytest.raises(InputError, match="needs flat RGB images"):
        Augment(SURE, spec_of(channels=3, head="multilabel"), (8, 8))
    images = np.zeros((1, 3, 8, 8), np.uint16)
    with pytest.raises(InputError, match="8-bit"):
        Augment(SURE, spec_of(channels=3, padding="same"), (8, 8))(batch_of(images, images[:, :1]), "cpu")


def test_grey_makes_all_channels_one_mixture():
    _, images, sample = made({"grey": {"probability": 1}}, spec_of(channels=3, padding="same"), 12, count=3)
    found = sample.images.numpy()
    assert np.allclose(found[:, :1], found)
    assert (found >= images.min(1, keepdims=True) - 0.01).all()
    assert (found <= images.max(1, keepdims=True) + 0.01).all()


def test_inversion_swaps_bright_and_dark():
    _, images, sample = made({"invert": {"probability": 1}}, spec_of(padding="same"), 12, count=2)
    ends = images.min((2, 3), keepdims=True).astype(float) + images.max((2, 3), keepdims=True)
    assert np.allclose(sample.images, ends - images, atol=0.01)


def test_older_kinds_draw_what_they_drew_beside_the_new_ones():
    old = {
        "noise": {"probability": 0.5},
        "elastic": {"probability": 0.5, "std": 3},
        "gamma": {},
        "cutout": {},
    }
    new = {**old, "restain": {"probability": 0}, "grey": {"probability": 0}, "invert": {"probability": 0}}
    spec = spec_of(channels=3, padding="same")
    assert torch.equal(made(old, spec, 12)[2].images, made(new, spec, 12)[2].images)
