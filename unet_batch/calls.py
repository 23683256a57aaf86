"""`checked`: what the public functions are called with is looked at, and a wrong type told in one line.

Settings may be given as a mapping of their keys. The signature that people see is the function's own.
"""

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from unet_batch.config import Config, check
from unet_batch.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

_WORDS = {str: "text", Path: "a path", int: "a whole number", float: "a number", bool: "true or false"}
_SHOWN = 60


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, whose arguments are compared with its annotations.

    Raises:
        InputError: an argument of another type; the line says which is wanted.
        ConfigError: settings that cannot be used.
    """
    signature = inspect.signature(function)
    hints = _hints(signature)

    @functools.wraps(function)
    def call(*args: P.args, **keys: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **keys)
        except TypeError:
            return function(*args, **keys)  # Python's own words
        for name, value in bound.arguments.items():
            if (hint := hints.get(name)) is not None:
                bound.arguments[name] = _fitting(f"{function.__name__}(): {name}", value, hint)
        return function(*bound.args, **bound.kwargs)

    return call


def _hints(signature: inspect.Signature) -> Mapping[str, Any]:
    """Types by argument; those that are named for the type checker alone are left out."""
    given = {name: one.annotation for name, one in signature.parameters.items()}
    return {name: hint for name, hint in given.items() if not isinstance(hint, str)}


def _fitting(where: str, value: Any, hint: Any) -> Any:
    """``value`` where it fits ``hint``; a mapping that settings may be made of, as these."""
    kinds = [kind for kind in _kinds(hint) if isinstance(kind, type) and issubclass(kind, Config)]
    if kinds and isinstance(value, Mapping):
        return check(kinds[0], dict(value), where)
    if _fits(value, hint):
        return value
    shown = repr(value)
    shown = shown[:_SHOWN] + "..." if len(shown) > _SHOWN else shown
    shown = "" if "\n" in shown or " at 0x" in shown else f" ({shown})"
    raise InputError(f"{where} takes {_named(hint)}, not a {type(value).__name__}{shown}")


def _kinds(hint: Any) -> Iterable[Any]:
    """The members of a union; another hint alone."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    return any(_fits_one(value, kind) for kind in _kinds(hint))


def _fits_one(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if kind is None or kind is type(None):
        return value is None
    if origin is Literal:
        return value in get_args(kind)
    if origin in (Sequence, list, tuple) and get_args(kind):
        several = isinstance(value, Sequence | tuple) and not isinstance(value, str | bytes)
        inner = [one for one in get_args(kind) if one is not Ellipsis]
        return several and all(any(_fits(one, each) for each in inner) for one in value)
    if origin is not None:
        return not isinstance(origin, type) or isinstance(value, origin)
    if kind is Any or not isinstance(kind, type):
        return True
    flag_for_number = kind in (int, float) and isinstance(value, bool)
    return not flag_for_number and isinstance(value, (int, float) if kind is float else kind)


def _named(hint: Any) -> str:
    """What a hint means, for people."""
    names = dict.fromkeys(_word(kind) for kind in _kinds(hint) if kind is not type(None))
    return " or ".join(names)


def _word(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(repr(one) for one in get_args(kind))
    if get_origin(kind) in (Sequence, list, tuple):
        return f"a list of {_named(get_args(kind)[0])}"
    if isinstance(kind, type):
        if issubclass(kind, Config):
            return f"a {kind.__name__} or a mapping of its keys"
        return _WORDS.get(kind, f"a {kind.__name__}")
    return "a function" if get_origin(kind) is Callable else str(kind)
