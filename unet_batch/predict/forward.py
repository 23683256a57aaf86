"""Forward: tiles as stored in, the network's answer for each out. Flips and ensembles are averaged here.

Shapes: N tiles, C channels in, K classes out, S spatial axes of an input, T spatial axes of a tile.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from unet_batch.inference.flips import flips
from unet_batch.models import device as devices
from unet_batch.models import heads, normalise
from unet_batch.models.checkpoint import load_checkpoint
from unet_batch.predict.plan import Plan


class Forward:
    """The networks of a plan, ready on one device. One call at a time."""

    def __init__(self, plan: Plan, models: Sequence[str], device: str, threads: int | None) -> None:
        """Load the checkpoints ``models`` (in the plan's order) and prepare them for ``device``.

        Raises:
            CheckpointError: a checkpoint that cannot be used.
        """
        self.plan = plan
        self.networks = _prepared(plan, models, device, threads)
        self.flips = flips(plan.spec.dims) if plan.compute.tta else [()]

    @property
    def averages(self) -> bool:
        """Whether answers are means of probabilities even where logits would do."""
        return len(self.networks) * len(self.flips) > 1

    def __call__(self, x_NCS: Tensor, *, probabilities: bool) -> Tensor:
        """(N, K, T) float32: logits of the one network, or mean probabilities."""
        x = normalise.apply(x_NCS, self.plan.affine)
        if x_NCS.is_floating_point():
            # A NaN (no data) would spread over the network's whole reach.
            x = torch.nan_to_num(x, nan=0.0)
        if not (probabilities or self.averages):
            return self._crop(self._logits(self.networks[0], x))
        answers = [
            self._probabilities(n, x, axes) for n, axes in itertools.product(self.networks, self.flips)
        ]
        return answers[0] if len(answers) == 1 else torch.stack(answers).mean(dim=0)

    def _probabilities(self, network: devices.Network, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        logits = self._logits(network, x.flip(axes)).flip(axes) if axes else self._logits(network, x)
        return heads.probabilities(self._crop(logits), self.plan.spec.head)

    def _logits(self, network: devices.Network, x: Tensor) -> Tensor:
        """A compiled network gets the batch that it was made for; an eager one halves it when memory ends."""
        batch = self.plan.compute.batch
        if self.plan.compute.backend != "eager":
            padding = x.new_zeros((batch - len(x), *x.shape[1:]))
            return network(torch.cat([x, padding]) if len(padding) else x)[: len(x)]
        try:
            return network(x)
        except torch.OutOfMemoryError:
            if len(x) == 1:
                raise
        torch.cuda.empty_cache()
        half = len(x) // 2
        return torch.cat([self._logits(network, x[:half]), self._logits(network, x[half:])])

    def _crop(self, logits: Tensor) -> Tensor:
        """The tile's own pixels of an output that is as large as the input, or smaller by the margins."""
        dims, part = self.plan.spec.dims, self.plan.grid
        slices = [slice(None), slice(None)]
        for axis in range(-dims, 0):
            whole = logits.shape[axis] == self.plan.input_shape[axis]
            start = part.before[axis] if whole else 0
            slices.append(slice(start, start + part.tile[axis]))
        return logits[tuple(slices)]


_kept: dict[tuple[object, ...], devices.Network] = {}


def _prepared(plan: Plan, models: Sequence[str], device: str, threads: int | None) -> list[devices.Network]:
    """The networks; those of the plan before this one are used again where they are the same.

    So the images of a series share one loaded network, and no other stays in memory.
    """
    compute, shape = plan.compute, plan.input_shape
    keys = [
        (digest, device, compute.precision, compute.backend, shape, threads) for digest in plan.model.hashes
    ]
    found = dict(_kept)
    _kept.clear()
    for key, model in zip(keys, models, strict=True):
        _kept[key] = found.get(key) or _load(plan, model, device, threads)
    return [_kept[key] for key in keys]


def _load(plan: Plan, model: str, device: str, threads: int | None) -> devices.Network:
    module, spec = load_checkpoint(Path(model))
    compute = plan.compute
    return devices.prepare(
        module, spec, device, compute.precision, compute.backend, plan.input_shape, threads
    )
