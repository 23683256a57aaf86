"""TrainState and its file: all that a run needs to go on as if it had never stopped.

It is read back without unpickling objects.

Random numbers are not in it: samples, augmentation and dropout follow from the seeds and the step alone, on
any number of ranks.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unet_batch.atomic import atomic_path
from unet_batch.errors import CheckpointError, PlanMismatchError
from unet_batch.models.spec import ModelSpec
from unet_batch.store.io_errors import writing
from unet_batch.training.step import Step

FORMAT = "unet_batch/training/1"


@dataclass(slots=True)
class TrainState:
    """How far a run is: the plain part of what is saved.

    Attributes:
        step: updates done or skipped.
        seconds: spent in this and earlier runs.
        skipped: updates without a finite loss.
        skipped_in_row: of these, the last without a break.
        best_step: step of the best checkpoint, 0 before the first.
        best_scores: its scores.
        last_scores: those of the last validation.
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    skipped_in_row: int = 0
    best_step: int = 0
    best_scores: dict[str, float] = field(default_factory=dict)
    last_scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SavedState:
    """What was read back."""

    state: TrainState
    spec: ModelSpec
    config: dict[str, Any]
    tensors: dict[str, Any]


def save_state(path: Path, step: Step, state: TrainState, spec: ModelSpec, config: Mapping[str, Any]) -> None:
    """Write beside ``path`` and rename; OutputError where that cannot be."""
    values = {
        "format": FORMAT,
        "standing": asdict(state),
        "spec": spec.model_dump_json(),
        "config": json.dumps(config, default=str),
        "network": step.network.state_dict(),
        "optimiser": step.optimiser.state_dict(),
        "scaler": step.scaler.state_dict(),
        "average": None if step.ema is None else step.ema.state_dict(),
    }
    with writing(str(path)), atomic_path(path) as temporary:
        torch.save(values, temporary)


def read_state(path: Path) -> SavedState:
    """The state at ``path``, on the CPU.

    Raises:
        CheckpointError: damaged, or not a state of this package.
    """
    try:
        with zipfile.ZipFile(path) as file:  # torch writes checksums and does not look at them
            assert (damaged := file.testzip()) is None, f"{damaged} is damaged"
        values = torch.load(path, map_location="cpu", weights_only=True)
        assert values["format"] == FORMAT, f"format {values['format']!r}"
        state = TrainState(**values["standing"])
        spec = ModelSpec.model_validate_json(values["spec"])
        return SavedState(state, spec, json.loads(values["config"]), values)
    except Exception as error:  # noqa: BLE001 - torch's reader raises anything on a damaged file
        raise CheckpointError(
            f"{path}: not a state that can be read ({type(error).__name__}: {str(error).strip()[:80]}); "
            "remove it to begin anew from the last checkpoint (`model.from`)"
        ) from None


def check_resumable(path: Path, saved: SavedState, spec: ModelSpec, config: Mapping[str, Any]) -> None:
    """Refuse a state that ``spec`` and ``config`` cannot go on from; what differs is named.

    Raises:
        PlanMismatchError: it belongs to another network, kind of optimiser or deep supervision.
    """
    mine, theirs = spec.model_dump(mode="json"), saved.spec.model_dump(mode="json")
    differences = [
        f"model.spec.{key} is {mine[key]}, there {theirs[key]}"
        for key in mine
        if key not in ("normalisation", "objects") and mine[key] != theirs[key]
    ]
    for part, key in (("optimiser", "kind"), ("run", "deep_supervision")):
        if config[part][key] != saved.config[part][key]:
            differences.append(f"{part}.{key} is {config[part][key]}, there {saved.config[part][key]}")
    if differences:
        raise PlanMismatchError(
            f"{path}: belongs to another training ({'; '.join(differences[:3])}); "
            "use its settings, or train into another run.out"
        )


def restore(saved: SavedState, step: Step) -> None:
    """Put the tensors of ``saved`` into ``step``; what the optimiser's settings say now stays."""
    values, settings = saved.tensors, [_without_parameters(group) for group in step.optimiser.param_groups]
    step.network.load_state_dict(values["network"])
    step.optimiser.load_state_dict(values["optimiser"])
    for group, own in zip(step.optimiser.param_groups, settings, strict=True):
        group.update(own)
    for parameter, kept in step.optimiser.state.items():
        kept.update({key: _as_fused(value, parameter) for key, value in kept.items()})
    if step.scaler.is_enabled() and values["scaler"]:
        step.scaler.load_state_dict(values["scaler"])
    if step.ema is not None:
        step.ema.load_state_dict(values["average"] or values["network"])


def _as_fused(value: Any, parameter: Tensor) -> Any:
    """What is kept for ``parameter``, where and as fused optimisers take it: they look at no strides."""
    if not isinstance(value, Tensor):
        return value
    if value.shape == parameter.shape:
        return torch.empty_like(parameter).detach().copy_(value)
    return value.to(parameter.device, torch.float32)


def _without_parameters(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "params"}
