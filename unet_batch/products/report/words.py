"""Numbers in words of a report."""

_PREFIXES = ("", " k", " M", " G", " T", " P")


def of_rate(rate: float) -> str:
    """Pixels per second."""
    return f"{short(rate)}px/s"


def short(number: float) -> str:
    """Three digits and a prefix, ready for a unit."""
    for prefix in _PREFIXES:
        if abs(number) < 999.5 or prefix == _PREFIXES[-1]:
            return f"{number:.3g}{prefix or ' '}"
        number /= 1000
    raise AssertionError("the last prefix takes all")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def share(part: float, whole: float) -> str:
    """Percent, or a dash of nothing."""
    return f"{100 * part / whole:.2f} %" if whole else "-"
