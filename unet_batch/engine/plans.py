"""Plans: whether what an earlier run began is what is asked for now. One rule for every verb.

The same plan goes on. Another plan is refused with what differs; where the caller asked to overwrite, the
output begins anew. Nothing is deleted without being asked for, and nothing that this program did not make.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from unet_batch.config import Config
from unet_batch.errors import PlanMismatchError

_NAMED = 3  # differences that an error names
_WIDTH = 24  # characters of a value in an error


def as_json(plan: Config) -> dict[str, Any]:
    """A plan's values after a trip through JSON, in which NaN is null."""
    values: dict[str, Any] = json.loads(plan.model_dump_json())
    return values


def differences(mine: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """Lines ``key: mine, not stored`` for all that differs between two plans; keys of parts are dotted."""
    ours, theirs = dict(_flat(mine)), dict(_flat(stored))
    return [
        f"{key}: {_short(ours.get(key))}, not {_short(theirs.get(key))}"
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key) != theirs.get(key)
    ]


def refuse_other(where: str, found: list[str], cure: str) -> None:
    """Raise PlanMismatchError where two plans differ.

    Args:
        where: the unfinished output.
        found: what ``differences`` says.
        cure: what a person can do, beside using the settings that it was begun with.
    """
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise PlanMismatchError(
            f"{where}: belongs to another plan ({'; '.join(found[:_NAMED])}{more}); use its settings, "
            f"or {cure}"
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH // 2]}..."
