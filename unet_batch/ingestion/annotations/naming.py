"""Class numbers for the names that annotations bear."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.ingestion.annotations.config import AnnotationsConfig

LEFT_OUT = -1


@dataclass(frozen=True, slots=True)
class Naming:
    """Classes in the order of their numbers, and what became of the names that were found.

    Attributes:
        classes: their names.
        rename: class by annotation name, None where it is left out.
        counts: annotations of each class.
        left_out: annotations without a name, or renamed to nothing.
    """

    classes: tuple[str, ...]
    rename: dict[str, str | None]
    counts: dict[str, int]
    left_out: int

    @classmethod
    def of(cls, names: NDArray[np.object_], config: AnnotationsConfig, where: str) -> "Naming":
        """Of all names in a file.

        Raises:
            InputError: a name that is no class, or no annotation of any class.
        """
        found = Counter(config.rename.get(name, name) for name in names.tolist() if name is not None)
        left_out = found.pop(None, 0) + sum(name is None for name in names)
        classes = config.classes or _sorted(found, config.rest)
        unknown = sorted(set(found) - set(classes))
        if unknown:
            name = unknown[0]
            raise InputError(
                f"{where}: {found[name]} annotations of {name!r}, which is not among classes "
                f"{', '.join(classes)}; add it, or leave it out with --set 'rename={{{name}: null}}'"
            )
        if not found:
            raise InputError(f"{where}: no annotation of any class; nothing would be painted")
        return cls(classes, dict(config.rename), {name: found.get(name, 0) for name in classes}, left_out)

    def numbers(self, names: NDArray[np.object_]) -> NDArray[np.int64]:
        """The class number of each name; LEFT_OUT of those without."""
        known: dict[Any, int] = {name: number for number, name in enumerate(self.classes)}
        return np.array([known.get(self.rename.get(name, name), LEFT_OUT) for name in names], np.int64)


def _sorted(found: Counter[str], rest: str | None) -> tuple[str, ...]:
    first = () if rest is None else (rest,)
    return (*first, *sorted(set(found) - set(first)))
