"""Outputs: whether a product may be written where it was asked to be. Makes nothing."""

from pathlib import Path

from unet_batch.errors import InputError, OutputError

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_text(value: str) -> str:
    """A text of a CSV file: one that a spreadsheet would run is quoted by an apostrophe, as OWASP advises."""
    return f"'{value}" if value.startswith(_FORMULA) else value


def check_output(out: Path, suffixes: tuple[str, ...], *, replace: bool = False) -> None:
    """Refuse an output of another ending than ``suffixes``, in no folder, or there unless to ``replace``."""
    check_name(out, suffixes)
    if out.is_dir() or (out.exists() and not replace):
        raise OutputError(f"{out}: exists already; choose another output or remove it")


def check_name(out: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse an output of another ending than ``suffixes``, or in no folder."""
    if out.suffix not in suffixes:
        raise InputError(f"{out}: ends in none of {', '.join(suffixes)}; give such a name")
    if not out.parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist; create it first")
