import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_batch.tiling import Box


@st.composite
def boxes(draw, ndim=2):
    start = tuple(draw(st.integers(-20, 20)) for _ in range(ndim))
    return Box(start, tuple(a + draw(st.integers(0, 15)) for a in start))


def cells(box: Box) -> set[tuple[int, int]]:
    (y0, x0), (y1, x1) = box.start, box.stop
    return {(y, x) for y in range(y0, y1) for x in range(x0, x1)}


@given(boxes(), boxes())
def test_intersection_holds_what_both_cover(a, b):
    assert cells(a.intersect(b)) == cells(a) & cells(b)
    assert a.contains(b) == (cells(b) <= cells(a))


@given(boxes(), st.integers(1, 5))
def test_scale_down_touches_every_pixel(box, factor):
    touched = {(y // factor, x // factor) for y, x in cells(box)}
    if box.size:
        assert cells(box.scale_down((factor, factor))) == touched


@given(boxes(), st.integers(-5, 5))
def test_shift_and_relative_to_undo_each_other(box, by):
    assert box.shift((by, by)).relative_to((by, by)) == box
    assert box.shift((by, by)).shape == box.shape


def test_grow_reaches_past_the_origin():
    assert Box((0, 0), (4, 4)).grow((2, 1), (3, 0)) == Box((-2, -1), (7, 4))


def test_sides_must_match():
    with pytest.raises(ValueError, match="as many starts as stops"):
        Box((0,), (1, 2))
