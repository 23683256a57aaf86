"""Packages that only some installations have, and the one line that says how to get them."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from unet_batch.errors import InputError


def has(package: str) -> bool:
    """Whether a package is installed; does not import it."""
    return importlib.util.find_spec(package) is not None


def missing(package: str, extra: str, purpose: str) -> str:
    """The line for a person where ``purpose`` needs a package that comes with ``extra``."""
    return f"{purpose} needs {package}; run: pip install 'unet-batch[{extra}]'"


def require(package: str, extra: str, purpose: str) -> None:
    """Raise an InputError where a package is not installed; does not import it."""
    if not has(package):
        raise InputError(missing(package, extra, purpose))


@contextmanager
def needed(extra: str, purpose: str) -> Iterator[None]:
    """Around imports: a module that is missing becomes an InputError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(missing(error.name or "a package", extra, purpose)) from None
