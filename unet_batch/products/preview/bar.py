"""A scale bar: a round length that is at most so wide."""

from math import floor, log10

_SMALLER = {
    "micrometer": (("nm", 1e-3), ("µm", 1.0), ("mm", 1e3), ("cm", 1e4)),
    "millimeter": (("µm", 1e-3), ("mm", 1.0), ("cm", 1e1), ("m", 1e3)),
    "nanometer": (("nm", 1.0), ("µm", 1e3), ("mm", 1e6)),
    "metre": (("mm", 1e-3), ("m", 1.0), ("km", 1e3)),
    "meter": (("mm", 1e-3), ("m", 1.0), ("km", 1e3)),
}


def scale_bar(width: float, unit: str | None, share: float = 0.25) -> tuple[float, str]:
    """What share of a picture ``width`` units wide a round length takes, at most ``share``; its label."""
    room = width * share
    power = 10.0 ** floor(log10(room))
    length = next(step * power for step in (5, 2, 1) if step * power <= room * 1.0001)
    name, size = unit or "px", 1.0
    for shorter, worth in _SMALLER.get(unit or "", ()):
        if length >= worth * 0.999:
            name, size = shorter, worth
    return length / width, f"{length / size:g} {name}"
