from hypothesis import given
from hypothesis import strategies as st

from unet_batch.tiling import ceil_div, round_down, round_up


@given(st.integers(-50, 50), st.integers(1, 9))
def test_division_and_rounding(value, divisor):
    assert (ceil_div(value, divisor) - 1) * divisor < value <= ceil_div(value, divisor) * divisor
    assert round_up(value, divisor) == ceil_div(value, divisor) * divisor
    assert round_down(value, divisor) <= value < round_down(value, divisor) + divisor
    assert round_down(value, divisor) % divisor == 0
