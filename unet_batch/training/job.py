"""Job: one training, made ready: data opened, network built, state of an earlier run put back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from unet_batch.errors import InputError
from unet_batch.models.device import resolve_precision
from unet_batch.models.layers import channels_last
from unet_batch.models.spec import ModelSpec
from unet_batch.training import state as states
from unet_batch.training.config import TrainConfig
from unet_batch.training.data.sources import Sources, open_sources
from unet_batch.training.distributed import Ranks
from unet_batch.training.ema import EMA
from unet_batch.training.evaluator import Evaluator
from unet_batch.training.files import RunFolder
from unet_batch.training.hooks import Hooks, Progress
from unet_batch.training.losses.weighted_sum import make_loss
from unet_batch.training.network import begin, spec_of
from unet_batch.training.norm import synced
from unet_batch.training.region_predictor import RegionPredictor
from unet_batch.training.state import Standing
from unet_batch.training.step import Step, make_optimiser
from unet_batch.training.supervision import Supervised, checkpoint_activations

_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Job:
    """All that steps, validation and saving work on; ``standing`` and what ``step`` holds change."""

    config: TrainConfig
    ranks: Ranks
    folder: RunFolder
    hooks: Hooks
    sources: Sources
    step: Step
    judge: Evaluator
    standing: Standing

    @property
    def spec(self) -> ModelSpec:
        """With the normalisation that was measured."""
        return self.sources.spec

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and kept: the average where there is one."""
        module = self.step.network if self.step.average is None else self.step.average.network
        assert isinstance(module, Supervised)
        return module.network

    def tell(self, message: str) -> None:
        """Something that a person should read; from the first rank only."""
        if message and self.ranks.first:
            self.hooks.observe(Progress(self.standing.step, self.config.run.steps, message=message))

    def save(self) -> None:
        """The state, by the first rank."""
        if self.ranks.first:
            values = self.config.model_dump(mode="json")
            states.save_state(self.folder.state, self.step, self.standing, self.spec, values)


def prepare(config: TrainConfig, ranks: Ranks, folder: RunFolder, hooks: Hooks) -> Job:
    """Open and build everything; go on from ``folder``'s state where there is one.

    Raises:
        UnetBatchError: settings, stores, checkpoints or a state that cannot be used.
    """
    _check_parts(config, ranks)
    spec = spec_of(config.model)
    state = ranks.in_turn(lambda: _earlier(config, folder, spec))
    wanted = spec if state is None else state.spec
    sources = ranks.in_turn(lambda: open_sources(config.data, wanted, folder.index))
    begun = begin(config.model, sources.spec, config.run.seed)
    step = _step(config, ranks, sources.spec, begun.network)
    standing = Standing()
    if state is not None:
        states.restore(state, step)
        standing = state.standing
    job = Job(config, ranks, folder, hooks, sources, step, _evaluator(config, ranks, sources.spec), standing)
    job.tell(f"going on after step {standing.step}" if state else begun.note)
    return job


def _earlier(config: TrainConfig, folder: RunFolder, spec: ModelSpec) -> states.State | None:
    if not folder.state.exists():
        return None
    state = states.read_state(folder.state)
    states.check_resumable(folder.state, state, spec, config.model_dump(mode="json"))
    return state


def _step(config: TrainConfig, ranks: Ranks, spec: ModelSpec, network: nn.Module) -> Step:
    run, layout = config.run, torch.contiguous_format
    if run.activation_checkpointing:
        checkpoint_activations(network)
    module: nn.Module = Supervised(network, spec, run.deep_supervision, run.seed)
    if run.sync_batchnorm and ranks.count > 1:
        module = synced(module, ranks.device)
    module = module.to(ranks.device)
    if run.channels_last:
        layout = channels_last(spec.dims)
        module = module.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stub lacks it
    precision = resolve_precision(run.precision, ranks.device.type)
    return Step(
        network=module,
        called=_called(config, ranks, module),
        objective=make_loss(config.objective, spec),
        optimiser=make_optimiser(config.optimiser, module),
        scaler=torch.amp.GradScaler(ranks.device.type, enabled=precision == "fp16"),
        average=None if run.ema is None else EMA(module, run.ema),
        ranks=ranks,
        dtype=_DTYPES[precision],
        layout=layout,
        clip=config.optimiser.clip,
        fixed_from=round(run.steps * (1 - run.fixed_statistics)),
    )


def _called(config: TrainConfig, ranks: Ranks, module: nn.Module) -> nn.Module:
    called: Any = torch.compile(module) if config.run.compile else module
    if ranks.count == 1:
        return called  # type: ignore[no-any-return]  # torch.compile is untyped for modules
    devices: Sequence[torch.device] | None = [ranks.device] if ranks.device.type == "cuda" else None
    return DistributedDataParallel(
        called,
        device_ids=devices,
        broadcast_buffers=not config.run.sync_batchnorm,
        gradient_as_bucket_view=True,
    )


def _evaluator(config: TrainConfig, ranks: Ranks, spec: ModelSpec) -> Evaluator:
    chosen = config.validation
    precision = resolve_precision(config.run.precision, ranks.device.type)
    predictor = RegionPredictor(spec, ranks.device, _DTYPES[precision], chosen.tile, chosen.batch, chosen.tta)
    return Evaluator(chosen, spec, predictor, ranks, config.objective.data_range)


def _check_parts(config: TrainConfig, ranks: Ranks) -> None:
    batch, parts = config.run.batch, ranks.count * config.run.accumulate
    if batch % parts:
        raise InputError(
            f"run.batch: {batch} samples cannot be shared by {ranks.count} ranks in {config.run.accumulate} "
            f"parts each; give a multiple of {parts}"
        )
