"""The JSON header of a safetensors file, read without torch and checked before anything else is believed.

Format: 8 bytes little-endian length, that many bytes of JSON, then the tensors' bytes
(huggingface.co/docs/safetensors).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_batch.errors import CheckpointError, MissingError

_LONGEST = 100_000_000  # the format's own limit
_PICKLE, _ZIP = b"\x80", b"PK\x03\x04"
_FOREIGN = "not a safetensors file; give one, or take other weights over with unet-batch model import"


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says about itself: string metadata and each tensor's shape."""

    path: Path
    metadata: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]

    def check_shapes(self, wanted: Mapping[str, tuple[int, ...]], exact: bool = True) -> None:
        """Refuse tensors that are missing, of another shape or, if ``exact``, not wanted; all by name."""
        missing = [key for key in wanted if key not in self.shapes]
        if missing:
            raise CheckpointError(f"{self.path}: lacks {_names(missing)}; it belongs to another network")
        for key, shape in wanted.items():
            if self.shapes[key] != shape:
                found = list(self.shapes[key])
                raise CheckpointError(
                    f"{self.path}: {key} has shape {found}, the network needs {list(shape)}; "
                    "it belongs to another network"
                )
        unwanted = [key for key in self.shapes if key not in wanted]
        if exact and unwanted:
            raise CheckpointError(f"{self.path}: has {_names(unwanted)} too; it belongs to another network")


def read_header(path: Path) -> Header:
    """The header of the safetensors file at ``path``.

    Raises:
        MissingError: no such file.
        CheckpointError: not safetensors (a pickle or zip is named as such and never opened), or truncated.
    """
    path = Path(path)
    values, available = _read_json(path)
    try:
        metadata = {str(key): str(value) for key, value in values.pop("__metadata__", {}).items()}
        shapes = {key: tuple(int(n) for n in value["shape"]) for key, value in values.items()}
        end = max((int(value["data_offsets"][1]) for value in values.values()), default=0)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path}: damaged safetensors header; copy the file again") from None
    if end != available:
        raise CheckpointError(f"{path}: holds {available} of {end} bytes of weights; copy the file again")
    return Header(path, metadata, shapes)


def _read_json(path: Path) -> tuple[dict[str, Any], int]:
    """The header's mapping and the number of bytes behind it."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            start = file.read(9)
            length = int.from_bytes(start[:8], "little")
            _refuse_foreign(path, start, length)
            text = start[8:] + file.read(length - 1)
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; check the path of the checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); give a file") from None
    if len(text) < length:
        raise CheckpointError(f"{path}: ends inside its header; copy the file again")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: damaged safetensors header; copy the file again")
    return values, size - 8 - length


def _refuse_foreign(path: Path, start: bytes, length: int) -> None:
    """Refuse what does not begin as the format says: a length, then a brace."""
    if start[8:] == b"{" and 2 <= length <= _LONGEST:
        return
    for magic, kind in ((_PICKLE, "a pickle"), (_ZIP, "a zip (as torch.save writes)")):
        if start.startswith(magic):
            raise CheckpointError(
                f"{path}: is {kind}, which can run code and is not opened here; take its weights over with "
                f"unet-batch model import {path} NET.safetensors --spec SPEC.yaml"
            )
    raise CheckpointError(f"{path}: {_FOREIGN}")


def _names(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more
