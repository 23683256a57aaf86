"""One affine per image and channel, whatever the image holds."""

import numpy as np
import pytest
import torch

from unet_batch.models.normalise import Affine, affine_for, apply
from unet_batch.models.spec import ModelSpec


def affine(normalisation, channels=2, rows=None):
    def percentiles_of(q):
        assert rows is not None, "only percentile normalisation may look at the image"
        assert tuple(q) == (1, 99)
        return np.array(rows)

    spec = ModelSpec(in_channels=channels, classes=["a", "b"], normalisation=normalisation)
    return affine_for(spec, percentiles_of)


def test_none_leaves_values_as_they_are():
    assert affine("none") == Affine((0, 0), (1, 1))


def test_fixed_values_are_broadcast():
    assert affine({"mean": [10], "std": [2, 4]}) == Affine((10, 10), (0.5, 0.25))


def test_percentiles_become_zero_and_one():
    found = affine({"percentiles": [1, 99]}, rows=[[10, 30], [0, 1000]])
    x = torch.tensor([[[10, 30, 20], [0, 1000, 500]]])
    np.testing.assert_allclose(apply(x, found), [[[0, 1, 0.5], [0, 1, 0.5]]])


@pytest.mark.parametrize(
    ("row", "offset"), [([7, 7], 7), ([9, 7], 9), ([np.nan, np.nan], 0), ([0, np.inf], 0)]
)
def test_channels_without_range_are_only_shifted(row, offset):
    assert affine({"percentiles": [1, 99]}, channels=1, rows=[row]) == Affine((offset,), (1,))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int16, torch.float64])
@pytest.mark.parametrize("dims", [2, 3])
def test_apply_takes_stored_types(dtype, dims):
    x = torch.full((2, 2, *[3] * dims), 5).to(dtype)
    y = apply(x, Affine((1.0, 3.0), (0.5, 2.0)))
    assert y.dtype == torch.float32
    assert (y[:, 0] == 2).all()
    assert (y[:, 1] == 4).all()
