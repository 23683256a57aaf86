"""Halving by mode and mean: against a brute-force rule, numpy against torch, blocks against the whole."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_batch.store.pyramid import halve_labels, halve_mean

FILL = 255
checked = settings(max_examples=40, deadline=None)


@st.composite
def labels(draw: st.DrawFn, dtype: str = "uint8") -> np.ndarray:
    ndim = draw(st.integers(2, 3))
    shape = tuple(draw(st.integers(1, 7)) for _ in range(ndim))
    values = draw(st.lists(st.sampled_from([0, 1, 2, FILL]), min_size=1, max_size=40))
    return np.resize(np.array(values, dtype), shape)


def children(x: np.ndarray, index: tuple[int, ...]) -> list:
    ends = [(2 * i, min(2 * i + 1, n - 1)) for i, n in zip(index, x.shape, strict=True)]
    return [x[place] for place in product(*ends)]


def mode(values: list) -> int:
    data = [int(v) for v in values if v != FILL]
    return min(set(data), key=lambda v: (-data.count(v), v)) if data else FILL


def brute(x: np.ndarray, rule) -> np.ndarray:
    out = np.empty([-(-n // 2) for n in x.shape], x.dtype)
    for index in np.ndindex(*out.shape):
        out[index] = rule(children(x, index))
    return out


@checked
@given(labels())
def test_labels_are_halved_by_the_mode(x):
    np.testing.assert_array_equal(halve_labels(x, range(x.ndim), FILL), brute(x, mode))


@checked
@given(labels())
def test_values_are_halved_by_the_mean_of_data(x):
    def mean(values):
        data = [int(v) for v in values if v != FILL]
        return int(np.floor(sum(data) / len(data) + 0.5)) if data else FILL

    np.testing.assert_array_equal(halve_mean(x, range(x.ndim), nodata=FILL), brute(x, mean))
    plain = brute(x, lambda values: int(np.floor(np.mean([int(v) for v in values]) + 0.5)))
    np.testing.assert_array_equal(halve_mean(x, range(x.ndim)), plain)


@checked
@given(labels())
def test_numpy_and_torch_agree(x):
    torch = pytest.importorskip("torch")
    on_torch = halve_labels(torch.from_numpy(x), range(x.ndim), FILL, torch)
    np.testing.assert_array_equal(on_torch.numpy(), halve_labels(x, range(x.ndim), FILL))
    for pixels in (x, (x / 3).astype("float32")):
        mean = halve_mean(torch.from_numpy(pixels), range(x.ndim), torch, nodata=FILL)
        expected = halve_mean(pixels, range(x.ndim), nodata=FILL)
        assert expected.dtype == pixels.dtype
        np.testing.assert_array_equal(mean.numpy(), expected)


@checked
@given(labels(), st.integers(1, 2))
def test_halving_blocks_equals_halving_the_whole(x, depth):
    step = 2**depth
    for halve in (
        lambda a: halve_labels(a, range(a.ndim), FILL),
        lambda a: halve_mean(a, range(a.ndim), nodata=FILL),
    ):
        whole, parts = x, {}
        for _ in range(depth):
            whole = halve(whole)
        for start in product(*(range(0, n, step) for n in x.shape)):
            part = x[tuple(slice(a, a + step) for a in start)]
            for _ in range(depth):
                part = halve(part)
            parts[tuple(a // step for a in start)] = part
        for index, part in parts.items():
            assert part.shape == (1,) * x.ndim
            assert part.item() == whole[index]


def test_channels_and_outer_axes_stay():
    x = np.random.default_rng(0).integers(0, 3, (2, 3, 5, 4)).astype("uint16")
    assert halve_labels(x, (-2, -1), 65535).shape == (2, 3, 3, 2)
    np.testing.assert_array_equal(
        halve_labels(x, (-2, -1), 65535)[1, 2], halve_labels(x[1, 2], (0, 1), 65535)
    )


def test_nan_is_no_data():
    x = np.array([[1, np.nan, np.nan, np.nan], [3, np.nan, np.nan, np.nan]], np.float32)
    np.testing.assert_array_equal(halve_mean(x, (0, 1), nodata=np.nan), np.array([[2, np.nan]], np.float32))


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "uint32"])
def test_means_do_not_overflow(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = np.full((2, 2, 4), high, dtype)
    assert (halve_mean(x, (0, 1, 2)) == high).all()
    assert (halve_mean(np.full_like(x, low), (0, 1, 2)) == low).all()
