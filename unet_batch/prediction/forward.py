"""Forward: tiles as stored in, the network's answer for each out. Views and ensembles are averaged here.

Shapes: N tiles, C channels in, K classes out, S spatial axes of an input, T spatial axes of a tile.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from unet_batch.inference.views import View, views
from unet_batch.models import device as devices
from unet_batch.models import heads
from unet_batch.models.feed import Feed, dtype_of
from unet_batch.prediction.loaded import forget, loaded
from unet_batch.prediction.plan import Plan


class Forward:
    """The networks of a plan, ready on one device. ``calls`` threads may call it at once."""

    def __init__(
        self, plan: Plan, models: Sequence[str], device: str, threads: int | None, calls: int
    ) -> None:
        """Load the checkpoints ``models`` (in the plan's order) and prepare them for ``device``.

        ``threads`` are of all calls, of which ``calls`` at most should run at once; where answers depend on
        them, the plan's.

        Raises:
            CheckpointError: a checkpoint that cannot be used.
        """
        self.plan = plan
        self.networks = _prepared(plan, models, device, plan.compute.threads or threads, calls)
        self.calls = min(network.calls for network in self.networks)
        self.views = views(plan.spec.dims, plan.compute.tta)

    @property
    def averages(self) -> bool:
        """Whether answers are means of probabilities even where logits would do."""
        return len(self.networks) * len(self.views) > 1

    def __call__(self, x_NCS: Tensor, *, probabilities: bool) -> Tensor:
        """(N, K, T) float32: logits of the one network, good until the next call, or mean probabilities."""
        if not (probabilities or self.averages):
            return self._crop(self._logits(self.networks[0], x_NCS))
        answers = [
            self._probabilities(n, x_NCS, view) for n, view in itertools.product(self.networks, self.views)
        ]
        return answers[0] if len(answers) == 1 else torch.stack(answers).mean(dim=0)

    def _probabilities(self, network: devices.Network, x: Tensor, view: View) -> Tensor:
        logits = view.back(self._logits(network, view.of(x)))
        # Values of a regression are the logits themselves, which the next call may overwrite.
        own = logits.clone() if self.plan.spec.head == "regression" else logits
        return heads.probabilities(self._crop(own), self.plan.spec.head)

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


def _prepared(
    plan: Plan, models: Sequence[str], device: str, threads: int | None, calls: int
) -> list[devices.Network]:
    """The networks; those of the plan before this one are used again where they are the same.

    So the images of a series share one loaded network, and no other stays in memory.
    """
    compute, feed = plan.compute, Feed(plan.input_shape, dtype_of(plan.image.dtype), plan.affine, calls)
    keys = [
        (digest, device, compute.precision, compute.backend, feed, threads) for digest in plan.model.hashes
    ]
    found = dict(_kept)
    _kept.clear()
    for key, digest, model in zip(keys, plan.model.hashes, models, strict=True):
        if key not in found:
            module, spec = loaded(digest, model)
            found[key] = devices.prepare(
                module, spec, device, compute.precision, compute.backend, feed, threads
            )
        _kept[key] = found[key]
    forget()
    return [_kept[key] for key in keys]
