"""Imported: what became of a foreign network."""

from dataclasses import dataclass
from pathlib import Path

from unet_batch.models.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Imported:
    """A network that was taken over.

    Attributes:
        path: where it lies now.
        spec: what it is, as measured and as the caller said.
        notes: lines that a person should know: what was guessed or left out.
    """

    path: Path
    spec: ModelSpec
    notes: tuple[str, ...] = ()


def class_names(count: int) -> list[str]:
    """Names for classes that nobody named."""
    return ["foreground"] if count == 1 else ["background", *(f"class_{n}" for n in range(1, count))]
