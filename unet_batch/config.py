"""The frozen base of everything that a YAML file may say, and the one way to load it."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from unet_batch.errors import ConfigError, MissingError

ConfigT = TypeVar("ConfigT", bound="Config")


class Config(BaseModel):
    """Frozen settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)


def load(kind: type[ConfigT], path: Path | None = None, overrides: Sequence[str] = ()) -> ConfigT:
    """Settings of ``kind`` from a YAML file and ``key=value`` overrides (values are read as YAML).

    Raises:
        MissingError: no such file.
        ConfigError: not YAML, an unknown key (the nearest known one is named) or an unusable value.
    """
    values = read_yaml(path) if path is not None else {}
    for item in overrides:
        _set(values, item)
    return validate(kind, values, where=str(path) if path is not None else "settings")


def validate(kind: type[ConfigT], values: dict[str, Any], where: str) -> ConfigT:
    """``values`` as ``kind``; a ConfigError of one line names ``where`` and the key at fault."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_fault(kind, error)}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; check the path of the YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({error}); give a YAML file") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({_one_line(error)}); mend the file") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds a {type(values).__name__}, not a mapping; write `key: value` lines")
    return {str(key): value for key, value in values.items()}


def _set(values: dict[str, Any], item: str) -> None:
    key, sign, text = item.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"--set {item}: write key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {item}: the value is not YAML ({_one_line(error)})") from None
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {item}: {parent} is not a mapping")
        values = child
    values[leaf] = value


def _first_fault(kind: type[BaseModel], error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        name = str(fault["loc"][-1])
        near = difflib.get_close_matches(name, list(kind.model_fields), n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(kind.model_fields)}"
        return f"unknown key `{key}`; {hint}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"`{key}`: {message}" if key else message


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
