"""Quantities in readable units, and the scale bar: a round length that is at most so wide."""

from math import floor, log10

_METRES = (("mm", 1e-3), ("m", 1.0), ("km", 1e3))
# Names that are read at a glance, and what they are of the unit that a store tells.
_READABLE = {
    "nanometer": (("nm", 1.0), ("µm", 1e3), ("mm", 1e6)),
    "micrometer": (("nm", 1e-3), ("µm", 1.0), ("mm", 1e3), ("cm", 1e4)),
    "millimeter": (("µm", 1e-3), ("mm", 1.0), ("cm", 1e1), ("m", 1e3)),
    "meter": _METRES,
    "metre": _METRES,
}
_POWERS = ("", "²", "³")


def quantity(value: float, unit: str | None, dims: int = 1) -> str:
    """A length (1), area (2) or volume (3) in ``unit`` to that power, with the name that suits its size."""
    known = _READABLE.get(unit or "", ((unit or "px", 1.0),))
    fitting = [one for one in known if value >= 0.999 * one[1] ** dims]
    name, worth = fitting[-1] if fitting else known[0]
    number = value / worth**dims
    return f"{number:{',.4g' if number < 1e4 else ',.0f'}} {name}{_POWERS[dims - 1]}"


def scale_bar(width: float, unit: str | None, share: float = 0.25) -> tuple[float, str]:
    """What share of a picture ``width`` units wide a round length takes, at most ``share``; its label."""
    room = width * share
    power = 10.0 ** floor(log10(room))
    length = next(step * power for step in (5, 2, 1) if step * power <= room * 1.0001)
    return length / width, quantity(length, unit)
