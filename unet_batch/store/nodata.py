"""Pixels without data: the values that mean it, and the one test for them.

An image has no such value, one, or several. In an image of floats NaN is always among them.
"""

from typing import Any

import numpy as np

Nodata = float | tuple[float, ...] | None
"""Values of pixels without data: none, one, or several, of which the first is written."""


def values_of(nodata: Nodata) -> tuple[float, ...]:
    """All values that mean no data."""
    if nodata is None:
        return ()
    return tuple(nodata) if isinstance(nodata, tuple | list) else (nodata,)


def first_of(nodata: Nodata) -> float | None:
    """The value that is written where there is no data."""
    return next(iter(values_of(nodata)), None)


def nodata_of(values: tuple[float, ...]) -> Nodata:
    """Each value once, in this order: None for none, a number for one."""
    once: list[float] = []
    for value in values:
        if not any(value == other or (np.isnan(value) and np.isnan(other)) for other in once):
            once.append(value)
    return None if not once else once[0] if len(once) == 1 else tuple(once)


def with_nan(nodata: Nodata, dtype: np.dtype[Any]) -> Nodata:
    """The values of an image of ``dtype``: with NaN, last, where it can hold NaN."""
    return nodata_of((*values_of(nodata), float("nan"))) if dtype.kind == "f" else nodata


def covers(nodata: Nodata, others: Nodata) -> bool:
    """Whether ``nodata`` has all values of ``others``."""
    own = values_of(nodata_of(values_of(nodata)))
    return len(values_of(nodata_of((*own, *values_of(others))))) == len(own)


def is_missing(x: Any, nodata: Nodata) -> Any:
    """Which elements of ``x`` (of numpy or torch) are one of the values; bool, of the shape of ``x``."""
    found: Any = None
    for value in values_of(nodata):
        one = x != x if value != value else x == value  # noqa: PLR0124 - NaN, in numpy as in torch
        found = one if found is None else found | one
    return x != x if found is None else found  # noqa: PLR0124 - no value: only NaN, which integers never are


def parse(told: object) -> Nodata:
    """Values as attributes of a store have them: a number, "NaN", or a list of these; None for others."""
    if isinstance(told, list | tuple):
        return nodata_of(tuple(value for one in told if isinstance(value := parse(one), int | float)))
    if isinstance(told, str) and told.lower() == "nan":
        return float("nan")
    return told if isinstance(told, int | float) and not isinstance(told, bool) else None


def to_json(nodata: Nodata) -> Any:
    """Values as strict JSON has them: NaN as text, several as a list."""
    plain = ["NaN" if np.isnan(value) else value for value in values_of(nodata)]
    return plain[0] if len(plain) == 1 else plain
