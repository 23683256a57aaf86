"""Weights of other programs: tensors alone are read, whatever a pickle holds besides, and matched by name.

A pickle is read by torch's own reader of tensors, which calls nothing that it does not know. Settings that
frameworks store beside them come out as empty shells.
"""

import pickle
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unet_batch.errors import CheckpointError, MissingError, text_of

# Makers of settings and numbers that trainings store beside weights. None is imported or called: shells are.
_SETTINGS_OF_PYTHON = (
    "argparse.",
    "collections.",
    "lightning.",
    "lightning_fabric.",
    "numpy.",
    "omegaconf.",
    "pathlib.",
)
_SETTINGS: tuple[str, ...] = (
    *_SETTINGS_OF_PYTHON,
    "pytorch_lightning.",
    "typing.",
    "_codecs.encode",
    "lightning_utilities.",
)
_NAMED = 4


class _Shell:
    """Stands for the maker of an object that is not made: whatever it gets, it gives an empty mapping."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return OrderedDict()


@dataclass(frozen=True, slots=True)
class Matched:
    """Tensors under the names that a network has, and which of the file's were not taken over."""

    tensors: Mapping[str, Tensor]
    left: tuple[str, ...]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict in a .pth, .pt, .ckpt, .bin or .safetensors file, by name.

    Raises:
        MissingError: no such file.
        CheckpointError: no tensors in it, or a pickle that asks for anything but tensors and settings.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such file; check the path of the weights")
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except (OSError, SafetensorError, ValueError) as error:
            raise CheckpointError(f"{path}: cannot be read ({text_of(error, 120)}); copy it again") from None
    found = _state_dict(unpickled(path))
    if not found:
        raise CheckpointError(f"{path}: holds no weights by name; save network.state_dict() with torch.save")
    return found


def unpickled(path: Path) -> Any:
    """What a file of ``torch.save`` holds, by a reader that runs nothing of it."""
    try:
        unknown = _unknown(path)
        _refuse_others(path, unknown)
        with torch.serialization.safe_globals([(_Shell, name) for name in unknown]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds more than tensors, which is not run ({text_of(error, 120)}); "
            "save network.state_dict() alone"
        ) from None
    except Exception as error:  # noqa: BLE001 - torch raises anything on a damaged file
        raise CheckpointError(f"{path}: cannot be read ({text_of(error, 120)}); copy it again") from None


def _unknown(path: Path) -> list[str]:
    """What a pickle asks for beside tensors; of the format before torch 1.6 its reader says it itself."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except ValueError:
        return []


def _refuse_others(path: Path, unknown: list[str]) -> None:
    refused = [name for name in unknown if not name.startswith(_SETTINGS)]
    if refused:
        raise CheckpointError(
            f"{path}: asks for {', '.join(refused[:_NAMED])}, which is not weights and is not run; "
            "save network.state_dict() alone"
        )


def match(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]]) -> Matched:
    """The tensors of ``found`` under the names of ``wanted``, whatever both put before these.

    Raises:
        CheckpointError: tensors that are missing or of another shape; they are named.
    """
    ours, theirs = max(
        ((ours, theirs) for ours in _prefixes(wanted) for theirs in _prefixes(found)),
        key=lambda pair: _common(wanted, found, *pair),
    )
    names = {key: theirs + key.removeprefix(ours) for key in wanted}
    missing = [
        name for key, name in names.items() if name not in found and not key.endswith("num_batches_tracked")
    ]
    if missing:
        raise CheckpointError(
            f"{path}: {_listed(missing)} {'is' if len(missing) == 1 else 'are'} not in it, which has "
            f"{_listed(sorted(found))}; mend the spec"
        )
    for key, name in names.items():
        if name in found and tuple(found[name].shape) != wanted[key]:
            raise CheckpointError(
                f"{path}: {name} has shape {list(found[name].shape)}, the network of the spec "
                f"{list(wanted[key])}; mend the spec"
            )
    taken = {
        key: found[name] if name in found else torch.zeros(wanted[key], dtype=torch.long)
        for key, name in names.items()
    }
    return Matched(taken, tuple(sorted(set(found) - set(names.values()))))


def _prefixes(keys: Mapping[str, Any]) -> list[str]:
    """What stands before most names, longest last."""
    count = Counter(".".join(key.split(".")[:n]) + "." for key in keys for n in range(1, key.count(".") + 1))
    return ["", *sorted(part for part, times in count.items() if 2 * times > len(keys))]


def _common(wanted: Mapping[str, Any], found: Mapping[str, Any], ours: str, theirs: str) -> int:
    return sum(key.startswith(ours) and theirs + key.removeprefix(ours) in found for key in wanted)


def _state_dict(value: Any) -> dict[str, Tensor]:
    """The largest mapping of names to tensors in what a training saved."""
    if not isinstance(value, Mapping):
        return {}
    own = {str(key): one for key, one in value.items() if isinstance(one, Tensor)}
    inner = [_state_dict(one) for key, one in value.items() if str(key) != "optimizer_states"]
    return max([own, *inner], key=len)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
