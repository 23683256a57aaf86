"""Division and rounding of whole numbers of pixels, blocks and tiles."""


def ceil_div(value: int, divisor: int) -> int:
    """``value / divisor``, rounded up: how many pieces of ``divisor`` it takes to cover ``value``.

    >>> ceil_div(38, 16), ceil_div(32, 16), ceil_div(-5, 2)
    (3, 2, -2)
    """
    return -(-value // divisor)


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is not below ``value``.

    >>> round_up(38, 16), round_up(32, 16)
    (48, 32)
    """
    return ceil_div(value, multiple) * multiple


def round_down(value: int, multiple: int) -> int:
    """The largest multiple of ``multiple`` that is not above ``value``.

    >>> round_down(38, 16), round_down(32, 16)
    (32, 32)
    """
    return value // multiple * multiple
