"""Networks of other programs: torch.export (.pt2) and TorchScript (.pt, .ts) files.

Both hold code for torch's own interpreters: no Python of theirs runs and no pickle is opened, but take them
from people you trust, as any program.
"""

import copy
import json
import os
import threading
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor, nn

from unet_batch.errors import CheckpointError

_LOADING = threading.Lock()
_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


class ExportedNetwork(nn.Module):
    """A loaded program as a module whose mode is fixed: it was exported for inference."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program
        for parameter in program.parameters():  # a script module refuses requires_grad_ as a whole
            parameter.requires_grad = False

    def __deepcopy__(self, memo: dict[int, Any]) -> "ExportedNetwork":
        with _quiet():
            return ExportedNetwork(copy.deepcopy(self.program, memo))

    def train(self, mode: bool = True) -> "ExportedNetwork":
        """Record the mode without passing it on: exported graphs refuse to change it."""
        self.training = mode
        return self

    def forward(self, x: Tensor) -> Any:
        """What the program returns: a tensor, or several in a dict, tuple or list."""
        return self.program(x)


def load_exported(path: Path) -> nn.Module:
    """The program in a .pt2, .pt or .ts file, on the CPU; it returns what it was exported with.

    Raises:
        CheckpointError: a pickle, a .pt2 with pickled parts, or not a program at all.
    """
    names = _members(path)
    with _weights_only(), _quiet():
        try:
            if path.suffix == ".pt2":
                _refuse_pickled_parts(path, names)
                program: nn.Module = torch.export.load(path).module()
            else:
                _refuse_pickle(path, names)
                program = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
                program.eval()
        except CheckpointError:
            raise
        except Exception as error:  # noqa: BLE001 - torch raises anything on a damaged program
            reason = str(error).strip().split("\n", 1)[0][:200]
            raise CheckpointError(f"{path}: torch cannot load it ({reason}); export it again") from None
    return ExportedNetwork(program)


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names, damaged = archive.namelist(), archive.testzip()
    except (OSError, zipfile.BadZipFile):
        raise CheckpointError(f"{path}: not an exported network; write it with torch.export.save") from None
    if damaged is not None:  # torch writes checksums and does not look at them
        raise CheckpointError(f"{path}: {damaged} is not as it was saved; copy the file again")
    if len(set(names)) < len(names):
        raise CheckpointError(f"{path}: names a part twice; export it again")
    return names


def _refuse_pickle(path: Path, names: list[str]) -> None:
    if not any("code" in PurePosixPath(name).parts for name in names):
        raise CheckpointError(
            f"{path}: is a pickle (as torch.save writes), which can run code and is not opened here; take "
            f"its weights over with unet-batch model import {path} NET.safetensors --spec SPEC.yaml"
        )


def _refuse_pickled_parts(path: Path, names: list[str]) -> None:
    with zipfile.ZipFile(path) as archive:
        for name in names:
            if name.endswith("_config.json") and _has_pickle(archive.read(name)):
                raise CheckpointError(
                    f"{path}: {name} refers to pickled objects, which are never opened; "
                    "export a network of plain tensors"
                )


def _has_pickle(config: bytes) -> bool:
    """Whether a payload list of a .pt2 archive names anything but raw tensors."""
    payloads = json.loads(config).get("config", {}).values()
    return any(
        payload.get("use_pickle") or not payload.get("path_name", "").startswith(("weight_", "tensor_"))
        for payload in payloads
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch announces its own future while it handles programs: nothing that a person could act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _weights_only() -> Iterator[None]:
    """Make torch.load take tensors only: torch.export.load falls back to a full unpickle otherwise."""
    with _LOADING:
        before = os.environ.get(_FORCE)
        os.environ[_FORCE] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_FORCE]
            else:
                os.environ[_FORCE] = before
