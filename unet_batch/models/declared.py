"""Declared: whether a foreign network does what the YAML beside it says, asked before any block.

Shapes: N batch, C channels, then the spatial axes.
"""

import logging
from collections.abc import Iterator
from typing import NoReturn

import torch
from torch import Tensor, nn

from unet_batch.errors import InputError, UnetBatchError
from unet_batch.models.measure import Axis, is_alike, legal, measured
from unet_batch.models.probe import Probe
from unet_batch.models.receptive_field import ReceptiveField
from unet_batch.models.spec import ModelSpec
from unet_batch.tiling import round_up

LARGEST_PIXELS = 2**22  # of an input that is tried; a network of larger margins is taken by its word

logger = logging.getLogger(__name__)


def check_declared(path: str, module: nn.Module, spec: ModelSpec) -> list[str]:
    """Lines for a person about an exported network that may not be what its spec says.

    Raises:
        InputError: sizes, margin or steps that are not as declared, with those that were measured.
    """
    field = spec.receptive_field()
    size = field.input_size(1 if field.fixed else 2 * field.multiple)
    probe = Probe.of(module, spec.dims, spec.in_channels, (size,) * spec.dims)
    answer = _answer(path, probe, spec, size)
    _check_size(path, answer, spec, size)
    lines = list(_remarks(path, answer, spec))
    if field.exact and not _holds(probe, field, size):
        claim = f"exact with margin {field.margin} and multiple {field.multiple}"
        raise InputError(f"{path}: is not {claim}; {_cure(module, spec)}")
    return lines


def _answer(path: str, probe: Probe, spec: ModelSpec, size: int) -> Tensor:
    x = torch.randn((1, spec.in_channels, *(size,) * spec.dims), generator=probe.seed, dtype=probe.dtype)
    try:
        with torch.inference_mode():
            answer = probe.network(x)
    except UnetBatchError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception:  # noqa: BLE001 - what `prepare` says of it names the shape of the run
        answer = None
    if answer is None or answer.ndim != spec.dims + 2 or answer.shape[1] != spec.out_channels:
        _refuse_shape(path, probe, answer, spec, size)
    return answer


def _refuse_shape(path: str, probe: Probe, answer: Tensor | None, spec: ModelSpec, size: int) -> NoReturn:
    given = f"{spec.in_channels} channels, {size} px along {spec.dims} axes"
    if answer is None:
        probe.ask(torch.zeros(probe.shape(0, size), dtype=probe.dtype))
        raise InputError(
            f"{path}: does not take an input of {given} ({probe.refusal}); mend in_channels, dims, "
            "multiple and remainder, or export it with dynamic axes"
        )
    raise InputError(
        f"{path}: gives {list(answer.shape)} for an input of {given}, not {spec.out_channels} channels "
        "(N, C, *spatial); mend `classes`, or choose another `output`"
    )


def _check_size(path: str, answer: Tensor, spec: ModelSpec, size: int) -> None:
    """Refuse an output of another size than the input less margins."""
    margin, out = spec.receptive_field().margin, int(answer.shape[2])
    if all(size - 2 * margin <= n <= size and (size - n) % 2 == 0 for n in answer.shape[2:]):
        return
    ratio = round(size / out * spec.output_scale) if out else 0
    whole = ratio > spec.output_scale and abs(size - ratio * out / spec.output_scale) < ratio
    cure = f"say `output_scale: {ratio}` with a `multiple` of it" if whole else "mend `margin` and `multiple`"
    raise InputError(
        f"{path}: gives {out} px for an input of {size} px, but margin {margin} needs "
        f"{size - 2 * margin} to {size} px; {cure}, or let `unet-batch model import` measure it"
    )


def _remarks(path: str, answer: Tensor, spec: ModelSpec) -> Iterator[str]:
    if spec.activation != "none" or spec.head == "regression":
        return
    low, high = float(answer.min()), float(answer.max())
    if low >= 0 and high <= 1:
        likely = "softmax" if spec.head == "multiclass" else "sigmoid"
        yield (
            f"{path}: all its outputs lie in 0..1 ({low:.2g} to {high:.2g}), as probabilities do, but are "
            f"taken as logits; if it ends in a {likely}, write `activation: {likely}` in its YAML"
        )


def _holds(probe: Probe, field: ReceptiveField, size: int) -> bool:
    """Whether margin and steps are as declared; True where they are too large to try."""
    if field.fixed is not None:
        radii = [probe.radius(axis, size // 2) for axis in range(probe.dims)]
        return all(radius is not None and radius <= field.margin for radius in radii)
    probe.others = (field.minimum,) * probe.dims
    declared = Axis(field.margin, field.multiple, field.remainder)
    window = legal(size + field.multiple, declared)
    collar = round_up(max(window // 2, field.multiple), field.multiple)
    if (window + 2 * collar) * field.minimum ** (probe.dims - 1) > LARGEST_PIXELS:
        logger.info("margin %d is not tried: its input would be too large", field.margin)
        return True
    behind = field.margin + field.output_size(window) % field.multiple
    for axis in range(probe.dims):
        reach = probe.unspoilt(axis, window, collar)
        if reach is None or reach.before > field.margin or reach.behind > behind:
            return False
    return all(is_alike(probe, axis, declared) for axis in range(probe.dims))


def _cure(module: nn.Module, spec: ModelSpec) -> str:
    found = measured(module, spec.dims, spec.in_channels)
    if not found.exact:
        return "its output depends on the whole input; write `exact: false`, and tiles are blended"
    rest = f", remainder: {found.remainder}" if found.remainder else ""
    fixed = f", fixed_size: {found.fixed}" if found.fixed else ""
    measure = f"margin: {found.margin}, multiple: {found.multiple}{rest}{fixed}"
    return f"measured: {measure}; write that, or `exact: false`"
