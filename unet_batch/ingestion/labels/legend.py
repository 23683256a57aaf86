"""Legend: the class of every value or colour that a label image holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.ingestion.labels.codes import NO_CODE
from unet_batch.ingestion.labels.config import LabelsConfig
from unet_batch.store.masks_layout import MasksLayout

_NAMED = 6
UNLABELLED = -1


@dataclass(frozen=True, slots=True)
class Legend:
    """Class numbers by code, UNLABELLED where a code means none.

    Attributes:
        names: of the classes.
        codes: that the image holds, sorted.
        numbers: class of each.
        colours: of the classes, where the settings name some.
    """

    names: tuple[str, ...]
    codes: NDArray[np.int64]
    numbers: NDArray[np.int64]
    colours: tuple[tuple[int, int, int, int], ...] = ()

    @classmethod
    def of(cls, codes: NDArray[np.int64], config: LabelsConfig, where: Path) -> "Legend":
        """The legend of an image that holds ``codes``.

        Raises:
            InputError: a value or colour that is no class; what to write is told.
        """
        if config.colours:
            return _of_colours(codes, config, where)
        return _of_values(codes, config, where)

    def labels(self, codes: NDArray[np.int64], layout: MasksLayout) -> NDArray[Any]:
        """Codes as labels of ``layout``."""
        table = np.where(self.numbers == UNLABELLED, int(layout.fill), self.numbers).astype(layout.dtype)
        return np.asarray(table[np.searchsorted(self.codes, codes)])


def _of_values(codes: NDArray[np.int64], config: LabelsConfig, where: Path) -> Legend:
    mapped = {value: _named(config, name) for value, name in config.map.items()}
    names = _names(codes, config, mapped)
    fills = {255, 65535} if len(names) <= 250 else {65535}
    numbers, unknown = [], []
    for code in codes.tolist():
        number = mapped.get(code, UNLABELLED if code in fills | {NO_CODE} else code)
        if not UNLABELLED <= number < len(names):
            unknown.append(code)
        numbers.append(number)
    if unknown:
        raise InputError(
            f"{where}: holds {_listed(unknown)}, but the classes are 0 to {len(names) - 1} "
            f"({_listed(names)}); say which class each is with --map '{unknown[0]}=1', or that it is none "
            f"with --map '{unknown[0]}=null'"
        )
    _refuse_one_class(codes, numbers, config, where)
    return Legend(names, codes, np.array(numbers, np.int64))


def _refuse_one_class(
    codes: NDArray[np.int64], numbers: Sequence[int], config: LabelsConfig, where: Path
) -> None:
    """Masks of 0 and 255 are the usual case, and 255 would be lost without a word."""
    if not config.map and set(codes.tolist()) in ({0, 255}, {0, 65535}, {255}):
        high = int(codes[-1])
        raise InputError(
            f"{where}: holds {_listed(codes.tolist())}, and {high} means unlabelled; if it is a class, say "
            f"so with --map '{high}=1', else with --map '{high}=null'"
        )
    if all(number == UNLABELLED for number in numbers):
        raise InputError(f"{where}: no pixel has a class; mend `map`")


def _named(config: LabelsConfig, name: int | str | None) -> int:
    if name is None:
        return UNLABELLED
    if isinstance(name, int):
        return name
    return list(config.classes or _strings(config)).index(name)


def _strings(config: LabelsConfig) -> tuple[str, ...]:
    """Class names in the order in which ``map`` names them."""
    return tuple(dict.fromkeys(name for name in config.map.values() if isinstance(name, str)))


def _names(codes: NDArray[np.int64], config: LabelsConfig, mapped: dict[int, int]) -> tuple[str, ...]:
    if config.classes is not None:
        return config.classes
    if strings := _strings(config):
        return strings
    plain = [code for code in codes.tolist() if code not in mapped and code not in (255, 65535)]
    return tuple(f"class {number}" for number in range(max((0, *plain, *mapped.values())) + 1))


def _of_colours(codes: NDArray[np.int64], config: LabelsConfig, where: Path) -> Legend:
    names = config.classes or tuple(config.colours)
    listed = [(rgb, names.index(name)) for name, rgb in config.colours.items()]
    listed += [] if config.unlabelled is None else [(config.unlabelled, UNLABELLED)]
    colours = np.array([rgb for rgb, _ in listed], np.int64)
    numbers, unknown = [], []
    for code in codes.tolist():
        if code == NO_CODE:
            numbers.append(UNLABELLED)
            continue
        apart = np.abs(colours - np.array([code >> 16, code >> 8 & 255, code & 255]))
        nearest = int(apart.sum(axis=1).argmin())
        if apart[nearest].max() > config.tolerance:
            unknown.append(f"#{code:06x}")
        numbers.append(listed[nearest][1])
    if unknown:
        raise InputError(
            f"{where}: {len(unknown)} colours that are not listed, {_listed(unknown)}; add them to the "
            "colours, name one as --set unlabelled='#000000', or allow for lossy files with --set tolerance=8"
        )
    shown = tuple((*config.colours[name], 255) for name in names) if set(names) == set(config.colours) else ()
    return Legend(names, codes, np.array(numbers, np.int64), shown)


def _listed(values: Sequence[Any]) -> str:
    more = f" and {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return ", ".join(str(value) for value in values[:_NAMED]) + more
