"""Quantities in readable units, and the scale bar: a round length that is at most so wide."""

from math import floor, log10

from unet_batch.store.units import length

# Units that are read at a glance, beside the one that a store tells.
_READABLE = {
    "nanometer": ("nm", "µm", "mm"),
    "micrometer": ("nm", "µm", "mm", "cm"),
    "millimeter": ("µm", "mm", "cm", "m"),
    "meter": ("mm", "m", "km"),
}
_POWERS = ("", "²", "³")


def quantity(value: float, unit: str | None, dims: int = 1) -> str:
    """A length (1), area (2) or volume (3) in ``unit`` to that power, with the name that suits its size."""
    known = _names(unit)
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


def _names(unit: str | None) -> list[tuple[str, float]]:
    """Short names of units, and how many of ``unit`` each has."""
    own = length(unit)
    if own is None:
        return [(unit or "px", 1.0)]
    shown = [length(name) for name in _READABLE.get(own.name, (own.symbol,))]
    return [(one.symbol, one.micrometres / own.micrometres) for one in shown if one is not None]
