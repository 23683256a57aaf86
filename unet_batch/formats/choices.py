"""Choices among what a file holds: its images, its axes. Knows no file format."""

from collections.abc import Sequence

from unet_batch.errors import InputError
from unet_batch.formats.config import ReadConfig

_COLOUR_SAMPLES = (3, 4)
_NAMED = 8


def require_single(where: str, config: ReadConfig) -> None:
    """Raise an InputError where settings choose among images of a file that holds one."""
    if config.series or config.level:
        name = "series" if config.series else "level"
        raise InputError(f"{where}: has one image without a pyramid; leave `{name}` out")


def pick_series(where: str, told: Sequence[str], sizes: Sequence[int], wanted: int | None) -> int:
    """Number of the image to read: the wanted one, else the largest.

    Raises:
        InputError: no such number.
    """
    if wanted is None:
        return max(range(len(sizes)), key=lambda n: (sizes[n], -n))
    if wanted >= len(told):
        raise InputError(f"{where}: has series 0 to {len(told) - 1}, no series {wanted}; mend `series`")
    return wanted


def others_note(told: Sequence[str], number: int) -> tuple[str, ...]:
    """What else a file holds, named up to some, where image ``number`` is read because nobody chose."""
    if len(told) == 1:
        return ()
    named = [f"{n} ({one})" for n, one in enumerate(told)]
    mine = named.pop(number)
    more = "" if len(named) <= _NAMED else f" and {len(named) - _NAMED} more"
    return (f"of {len(told)} series {mine} is read, not {', '.join(named[:_NAMED])}{more}; see --series",)


def default_axes(where: str, shape: tuple[int, ...], override: str | None) -> str:
    """Axes of a file that names none: ``override``, or yx for two dimensions.

    Raises:
        InputError: more than two dimensions without ``override``, or an override of another length.
    """
    ndim, axes = len(shape), override if override is not None else "yx"
    if len(axes) == ndim and ndim >= 2:
        return axes
    if override is None:
        likely = "yxc" if ndim == 3 and shape[-1] in _COLOUR_SAMPLES else "tczyx"[-ndim:]
        raise InputError(
            f"{where}: has {ndim} dimensions {shape} without names; name them, such as --axes {likely}"
        )
    raise InputError(
        f"{where}: has {ndim} dimensions, but axes {override!r} names {len(override)}; name each once"
    )
