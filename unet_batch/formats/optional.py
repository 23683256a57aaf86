"""Packages that an installation may lack, and the line that says how to get them."""

import importlib.util
from types import ModuleType
from typing import cast

from unet_batch.errors import InputError


def has(package: str) -> bool:
    """Whether a package is installed; does not import it."""
    return importlib.util.find_spec(package) is not None


def require(package: str, what: str, extra: str = "geo") -> None:
    """Raise an InputError of one line where ``what`` needs a package that is not installed."""
    if not has(package):
        raise InputError(f"{what} needs {package}; install it with: pip install 'unet-batch[{extra}]'")


def rasterio_for(what: str) -> ModuleType:
    """Rasterio, or an InputError that says how to get it; ``what`` needs it."""
    require("rasterio", what)
    import rasterio  # noqa: PLC0415 - an optional package

    return cast("ModuleType", rasterio)
