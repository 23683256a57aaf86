"""Shards, chunks and levels of a pyramid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_batch.errors import InputError
from unet_batch.store.layout import PyramidLayout


def layout(**changes: object) -> PyramidLayout:
    values = {
        "axes": "yx",
        "shape": (5000, 7000),
        "channels": 1,
        "dtype": "uint8",
        "block": (2048, 2048),
        "chunk": (512, 512),
        "dims": 2,
    }
    return PyramidLayout(**{**values, **changes})  # type: ignore[arg-type]


def test_blocks_own_a_shard_on_the_one_pass_levels():
    pyramid = layout()
    assert [pyramid.shape_at(k) for k in range(pyramid.level_count)] == [
        (5000, 7000),
        (2500, 3500),
        (1250, 1750),
        (625, 875),
        (313, 438),
    ]
    assert pyramid.one_pass_levels == 4
    assert [pyramid.array_at(k).shard for k in range(4)] == [(2048 >> k, 2048 >> k) for k in range(4)]
    assert [pyramid.array_at(k).chunk for k in range(4)] == [(512, 512), (512, 512), (512, 512), (256, 256)]


def test_a_block_that_does_not_halve_evenly_ends_the_pass():
    assert layout(block=(1920, 2040)).one_pass_levels == 3
    assert layout(block=(2047, 2048)).one_pass_levels == 1


def test_volumes_go_down_to_32():
    pyramid = layout(axes="zyx", shape=(600, 600, 600), block=(128,) * 3, chunk=(64,) * 3, dims=3)
    assert pyramid.one_pass_levels == 3


def test_outer_axes_are_never_halved():
    pyramid = layout(axes="tzyx", shape=(4, 5, 5000, 7000), block=(1, 1, 2048, 2048), chunk=(1, 1, 512, 512))
    assert pyramid.shape_at(2) == (4, 5, 1250, 1750)
    assert pyramid.array_at(4).shard[:2] == (1, 1)


def test_a_prime_block_is_one_chunk():
    assert layout(block=(1009, 1009)).array_at(0).chunk == (1009, 1009)


@given(
    shape=st.integers(1, 9000),
    block=st.integers(1, 4096),
    chunk=st.integers(1, 600),
    channels=st.integers(1, 3),
)
def test_any_block_gives_a_legal_array_on_every_level(shape, block, chunk, channels):
    pyramid = layout(
        axes="cyx", shape=(shape, 3), block=(block, 512), chunk=(chunk, 512), channels=channels, levels=None
    )
    for level in range(pyramid.level_count):
        array = pyramid.array_at(level)  # validates shard and chunk
        assert array.shape[0] == array.shard[0] == channels
        if level < pyramid.one_pass_levels:
            blocks = -(-shape // block)
            assert -(-array.shape[1] // array.shard[1]) == blocks


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"axes": "xy"}, "in this order"),
        ({"axes": "cx"}, "in this order"),
        ({"shape": (5,)}, "2 lengths each"),
        ({"dims": 3}, "dims must be"),
        ({"dims": 1}, "dims must be"),
        ({"block": (0, 4)}, "at least 1"),
        ({"levels": 0}, "at least one level"),
        ({"channels": 2}, "need an axis c"),
    ],
)
def test_layouts_that_cannot_be(changes, said):
    with pytest.raises(InputError, match=said):
        layout(**changes)
