"""Origin: the image of masks, by paths that the caller gave. What a store records is shown, not opened.

A store may come from anybody, so nothing that it records decides which other path is opened.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unet_batch.errors import InputError
from unet_batch.store.labels import enclosing_image
from unet_batch.store.masks import Masks

_LONGEST = 300


def image_of(masks: Masks, given: str | Path | None = None) -> str | None:
    """The image that ``masks`` were made of: as given, else the one around them; None where neither is."""
    if given is not None:
        return str(given)
    found = enclosing_image(masks.path)
    return None if found is None else str(found)


def recorded(masks: Masks, key: str) -> tuple[str, ...]:
    """Paths that the store records under ``key`` (image, models, masks, table), as text for a person."""
    said: Any = masks.attributes.get("provenance")
    values = said.get(key) if isinstance(said, Mapping) else None
    listed = values if isinstance(values, list | tuple) else [values]
    return tuple(_shown(value) for value in listed if isinstance(value, str) and value)


def not_given(masks: Masks, what: str, options: Mapping[str, str]) -> InputError:
    """The error that ``what`` is needed and was not given.

    Args:
        masks: the store.
        what: says what is needed for what.
        options: of the command line, up to their value, by the key of the provenance that they answer.
    """
    found = {option: recorded(masks, key) for key, option in options.items()}
    told = " ".join(f"{option}{path}" for option, paths in found.items() for path in paths)
    cure = "give " + " and ".join(f"{option}PATH" for option in options.values())
    if all(found.values()):
        named = ", ".join(path for paths in found.values() for path in paths)
        cure = f"the store says it was made from {named}; if you trust that, give {told}"
    return InputError(f"{masks.path}: {what}; {cure}")


def _shown(path: str) -> str:
    clean = "".join(sign if sign.isprintable() else "?" for sign in path)
    return shlex.quote(clean[:_LONGEST])
