"""Files that say which colour means which class: CSV with name, red, green, blue, or a YAML mapping."""

import csv
from pathlib import Path
from typing import Any

from unet_batch.config import read_yaml
from unet_batch.errors import ConfigError, MissingError


def read_colours(path: Path) -> dict[str, Any]:
    """Colour by class name, in the order of the file, unchecked.

    Lines are ``name, red, green, blue`` or ``name, #rrggbb``, a heading may be there; or the file is YAML or
    JSON, ``name: [red, green, blue]`` or ``name: '#rrggbb'``.

    Raises:
        MissingError: no such file.
        ConfigError: neither.
    """
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        return read_yaml(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; check the path of the colours") from None
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{path}: no text that can be read; give lines of name, red, green, blue") from None
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = next((sign for sign in ",;\t" if lines and sign in lines[0]), ",")
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    found: dict[str, Any] = {}
    for place, (name, *colour) in enumerate(rows, start=1):
        if place == 1 and not _is_colour(colour):
            continue  # a heading
        if not _is_colour(colour) or name in found:
            raise ConfigError(f"{path}: line {place} is no `name, red, green, blue` of a new name; mend it")
        found[name] = colour[0] if len(colour) == 1 else [int(one) for one in colour[:3]]
    if not found:
        raise ConfigError(f"{path}: no colours; write lines of name, red, green, blue")
    return found


def _is_colour(cells: list[str]) -> bool:
    if len(cells) == 1:
        return cells[0].startswith("#")
    return len(cells) >= 3 and all(cell.isdecimal() for cell in cells[:3])
