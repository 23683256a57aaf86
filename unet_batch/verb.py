"""Lets a verb's folder be called: ``unet_batch.predict(...)`` runs, ``unet_batch.predict.plan`` is a module.

The public functions bear the names of the folders that hold them, and importing a folder binds its name.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class CallableModule(ModuleType):
    """A module that stands for the function ``_verb`` (``module:function``) of its own."""

    _verb: str

    def __call__(self, *args: Any, **settings: Any) -> Any:
        """Import the function when it is first needed, and call it."""
        module, _, function = self._verb.partition(":")
        return getattr(importlib.import_module(module), function)(*args, **settings)


def stand_for(package: str, verb: str) -> None:
    """Make the imported ``package`` callable as ``verb`` (``module:function``)."""
    module = sys.modules[package]
    module.__class__ = CallableModule
    module._verb = verb  # type: ignore[attr-defined]  # noqa: SLF001 - its own class
