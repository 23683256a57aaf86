import json

import numpy as np
import pytest
import torch

from unet_batch.store.nodata import (
    covers,
    first_of,
    is_missing,
    nodata_of,
    parse,
    to_json,
    values_of,
    with_nan,
)

NAN = float("nan")
FLOAT, BYTE = np.dtype("float32"), np.dtype("uint8")


@pytest.mark.parametrize("wrap", [np.asarray, torch.tensor])
def test_nan_and_numbers_are_missing_side_by_side(wrap):
    x = wrap([1.0, NAN, -9999.0, 0.0])
    assert is_missing(x, (-9999.0, NAN)).tolist() == [False, True, True, False]
    assert is_missing(x, -9999).tolist() == [False, False, True, False]
    assert is_missing(x, NAN).tolist() == [False, True, False, False]
    assert is_missing(wrap([0, 1, 2]), (0, 2)).tolist() == [True, False, True]


def test_an_image_of_floats_has_nan_last_and_once():
    assert with_nan(None, BYTE) is None
    assert with_nan(7, BYTE) == 7
    assert np.isnan(with_nan(None, FLOAT))
    assert np.isnan(with_nan(NAN, FLOAT))
    kept = with_nan((0.0, -1.0), FLOAT)
    assert (kept[:2], len(kept), first_of(kept)) == ((0.0, -1.0), 3, 0.0)


@pytest.mark.parametrize("nodata", [None, 5, NAN, (5, 6), (0.5, NAN)])
def test_attributes_keep_the_values(nodata):
    stored = None if nodata is None else json.loads(json.dumps(to_json(nodata), allow_nan=False))
    np.testing.assert_array_equal(values_of(parse(stored)), values_of(nodata))


@pytest.mark.parametrize("told", [True, "x", {}, [], [None]])
def test_what_is_no_value_is_none(told):
    assert parse(told) is None


def test_covers():
    assert covers((1, NAN), NAN)
    assert covers(NAN, NAN)
    assert covers(1, None)
    assert not covers(1, (1, NAN))
    assert not covers(None, 1)
    assert nodata_of((1, 1, NAN, NAN, 2))[1:] != (2,)
