"""The frozen base of everything that a YAML file may say, and the one way to load it."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from unet_batch.errors import ConfigError, MissingError, text_of

ConfigT = TypeVar("ConfigT", bound="Config")

# Far more than any settings have; what goes beyond was not written by a person for this program.
_LARGEST_FILE = 4 << 20  # bytes
_MOST_VALUES, _DEEPEST, _LONGEST_INTEGER = 1_000_000, 50, 1024
_LONGEST_MESSAGE, _LONGEST_SHOWN = 1000, 100  # characters; of a key


def matching(pattern: str, choices: str) -> AfterValidator:
    """What a setting's text must match as a whole; ``choices`` say it to a person."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is not known; use {choices}")
        return text

    return AfterValidator(check)


Compression = Annotated[
    str,
    matching(r"zstd(:([1-9]|1\d|2[0-2]))?|blosc-lz4|none", "zstd, zstd:1 to zstd:22, blosc-lz4 or none"),
]
"""How chunks of a store are compressed."""
DeviceName = Annotated[str, matching(r"auto|cpu|cuda(:\d+)?", "auto, cpu, cuda or cuda:N")]


class _InOneLine(type(BaseModel)):  # type: ignore[misc]  # pydantic's metaclass has no public name
    """Makes a ConfigError of one line of what is wrong where settings are made by name."""

    def __call__(cls, *args: Any, **values: Any) -> Any:
        """Settings of the keys ``values``."""
        if args:
            raise ConfigError(f"{cls.__name__}: settings are given by name, such as {_example(cls)}")
        try:
            return super().__call__(**values)
        except ValidationError as error:
            raise ConfigError(f"{cls.__name__}: {_first_fault(cls, values, error)}") from None


def _example(kind: Any) -> str:
    return f"{kind.__name__}({next(iter(kind.model_fields), '')}=...)"


if TYPE_CHECKING:
    _Settings = BaseModel
else:

    class _Settings(BaseModel, metaclass=_InOneLine):
        pass


class Config(_Settings):
    """Frozen settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)


def load(kind: type[ConfigT], path: str | Path | None = None, overrides: Sequence[str] = ()) -> ConfigT:
    """Settings of ``kind`` from a YAML file and ``key=value`` overrides (values are read as YAML).

    Raises:
        MissingError: no such file.
        ConfigError: not YAML, an unknown key (the nearest known one is named) or an unusable value.
    """
    values = read_values(None if path is None else Path(path), overrides)
    sources = [str(path)] if path is not None else []
    return validate(kind, values, where=" with ".join([*sources, *(["--set"] if overrides else [])]))


def read_values(path: Path | None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What a YAML file and ``key=value`` overrides say, not checked.

    Raises:
        MissingError: no such file.
        ConfigError: not YAML.
    """
    values = read_yaml(path) if path is not None else {}
    for item in overrides:
        _set(values, item)
    return values


def validate(kind: type[ConfigT], values: dict[str, Any], where: str) -> ConfigT:
    """``values`` as ``kind``; a ConfigError of one line names ``where`` and the key at fault."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_fault(kind, values, error)}") from None


def check(kind: type[ConfigT], given: object, name: str) -> ConfigT:
    """Settings that a caller gave: of ``kind``, a mapping of their keys, or None for the defaults.

    Raises:
        ConfigError: of another kind, or keys and values that cannot be used.
    """
    if isinstance(given, kind):
        return given
    if given is None or isinstance(given, dict):
        return validate(kind, given or {}, name)
    raise ConfigError(
        f"{name}: a {type(given).__name__} is no {kind.__name__}; give one, or a mapping of its keys"
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        text = content.decode()
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; check the path of the YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({error}); give a YAML file") from None
    if len(content) > _LARGEST_FILE:
        raise ConfigError(f"{path}: larger than {_LARGEST_FILE >> 20} MiB; give a YAML file with settings")
    values = _parsed(text, f"{path}: not YAML", "; mend the file")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds a {type(values).__name__}, not a mapping; write `key: value` lines")
    return {str(key): value for key, value in values.items()}


def _parsed(text: str, complaint: str, cure: str = "") -> Any:
    """What YAML ``text`` says; a ConfigError of one line where it is none or larger than settings are."""
    try:
        values = yaml.safe_load(text)
        _check_size(values)
    except RecursionError:
        raise ConfigError(f"{complaint} (nested too deep){cure}") from None
    except Exception as error:  # noqa: BLE001 - PyYAML lets errors of dates, numbers and keys out as they come
        raise ConfigError(f"{complaint} ({text_of(error, 200)}){cure}") from None
    return values


def _check_size(values: Any) -> None:
    """Raise ValueError for more values (aliases counted where they are used) or depth than settings have."""
    count, left = 0, [(values, 0)]
    while left:
        value, depth = left.pop()
        count += 1
        if count > _MOST_VALUES:
            raise ValueError(f"holds more than {_MOST_VALUES:,} values")
        if depth > _DEEPEST:
            raise ValueError(f"nested more than {_DEEPEST} deep")
        if isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER:
            raise ValueError(f"an integer of {value.bit_length()} bits")
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        if isinstance(inner, list):
            left.extend((one, depth + 1) for one in inner)


def _set(values: dict[str, Any], item: str) -> None:
    key, sign, text = item.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"--set {item:.200}: write key=value")
    value = _parsed(text, f"--set {item:.200}: the value is not YAML")
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {item:.200}: {parent:.100} is not a mapping")
        values = child
    values[leaf] = value


def _first_fault(kind: type[BaseModel], values: dict[str, Any], error: ValidationError) -> str:
    faults = [(_keys(values, fault), fault) for fault in error.errors(include_url=False)]
    for keys, fault in faults:  # a misspelt key is also why another one is missing
        if fault["type"] == "extra_forbidden":
            return _unknown(keys, _siblings(kind, keys))
    keys, fault = max(faults, key=lambda one: len(one[0]))
    if not keys:
        return _cut(_plain(fault["msg"]))
    # A value that may be of several types has a fault for each of them.
    messages = dict.fromkeys(_plain(other["msg"]) for where, other in faults if where == keys)
    message = _cut(" or ".join(messages).replace(" or must be", " or"))
    told = fault["type"] in ("missing", "value_error", "too_long", "too_short")
    given = "" if told else f", not {fault['input']!r:.60}"
    return f"`{_dotted(keys)}`: {message}{given}"


def _unknown(keys: Sequence[str], known: Sequence[str]) -> str:
    near = difflib.get_close_matches(keys[-1], known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"
    return f"unknown key `{_dotted(keys)}`; {hint}"


def _keys(values: Any, fault: ErrorDetails) -> list[str]:
    """The keys and positions that a person wrote; pydantic's location also names the types that it tried."""
    keys = []
    for part in fault["loc"]:
        listed = isinstance(part, int) and isinstance(values, list | tuple) and part < len(values)
        if listed or (isinstance(values, dict) and part in values):
            keys.append(str(part))
            values = values[part]
    return [*keys, str(fault["loc"][-1])] if fault["type"] == "missing" else keys


def _siblings(kind: type[BaseModel], keys: Sequence[str]) -> list[str]:
    """The known keys at the place of the last of ``keys``."""
    models = [kind]
    for key in (key for key in keys[:-1] if not key.isdecimal()):  # positions in a list
        fields = [model.model_fields[key] for model in models if key in model.model_fields]
        models = [model for field in fields for model in _models_in(field.annotation)]
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _plain(message: str) -> str:
    """A message of pydantic in words of YAML."""
    for theirs, ours in _WORDS:
        message = re.sub(theirs, ours, message)
    return message


_WORDS = (
    ("^Value error, ", ""),
    ("^Field required", "is missing; write it"),
    ("^Input should be", "must be"),
    ("a valid (dictionary or instance of .*|dictionary)", "a mapping"),
    ("a valid tuple", "a list"),
    ("^Tuple", "the list"),
    (" after validation", ""),
    (", unable to parse string as an? (number|integer|boolean)", ""),
    ("a valid boolean, unable to interpret input", "true or false"),
    ("a valid boolean", "true or false"),
)


def _dotted(keys: Sequence[str]) -> str:
    return ".".join(_cut(key, _LONGEST_SHOWN) for key in keys)


def _cut(text: str, most: int = _LONGEST_MESSAGE) -> str:
    """Text without its middle, where it is longer: the value at fault has any length, the cure is last."""
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 2 :]}"
