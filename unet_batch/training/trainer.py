"""Trainer: one training made ready: data opened, network built, the state of an earlier run restored."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.amp import GradScaler

from unet_batch.devices.device import open_device
from unet_batch.errors import InputError
from unet_batch.models.device import resolve_precision, set_tf32
from unet_batch.models.layers import channels_last
from unet_batch.models.spec import ModelSpec
from unet_batch.training.config import OptimiserConfig, RunConfig, TrainConfig, ValidationConfig
from unet_batch.training.data.presence import remarks, require_labelled
from unet_batch.training.data.sources import Sources, open_sources
from unet_batch.training.distributed import Ranks
from unet_batch.training.ema import EMA
from unet_batch.training.evaluator import Evaluator
from unet_batch.training.files import RunFolder
from unet_batch.training.hooks import Hooks, Progress
from unet_batch.training.losses.own import OwnLoss, OwnTerm
from unet_batch.training.losses.weighted_loss import WeightedLoss, make_loss
from unet_batch.training.network import known_classes, spec_of, starting_network
from unet_batch.training.norm import convert_sync_batchnorm
from unet_batch.training.optimiser import LRScheduler, make_optimiser
from unet_batch.training.region_predictor import RegionPredictor
from unet_batch.training.state import SavedState, TrainState, check_resumable, read_state, restore, save_state
from unet_batch.training.step import Step
from unet_batch.training.supervision import Supervised, checkpoint_activations

_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Trainer:
    """All that updates, validation and saving work on; ``state`` and what ``step`` holds change.

    Attributes:
        config: the settings.
        ranks: the processes that train together.
        folder: where the run is written.
        hooks: how the caller watches and ends the run.
        sources: the data.
        step: one update of the weights.
        lr_scheduler: the learning rate of each update.
        evaluator: scores networks on regions.
        state: how far the run is.
    """

    config: TrainConfig
    ranks: Ranks
    folder: RunFolder
    hooks: Hooks
    sources: Sources
    step: Step
    lr_scheduler: LRScheduler
    evaluator: Evaluator
    state: TrainState

    @property
    def spec(self) -> ModelSpec:
        """The network's description, with the normalisation that was measured."""
        return self.sources.spec

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and saved: its moving average where there is one."""
        module = self.step.network if self.step.ema is None else self.step.ema.network
        assert isinstance(module, Supervised)
        return module.network

    def tell(self, message: str) -> None:
        """Pass a message for people to the caller's hooks; from the first rank only."""
        if message and self.ranks.first:
            self.hooks.observe(Progress(self.state.step, self.config.run.steps, message=message))

    def save(self) -> None:
        """Write the state of the run; from the first rank only."""
        if self.ranks.first:
            values = self.config.model_dump(mode="json")
            save_state(self.folder.state, self.step, self.state, self.spec, values)


def make_trainer(
    config: TrainConfig, ranks: Ranks, folder: RunFolder, hooks: Hooks, own: OwnLoss | None = None
) -> Trainer:
    """Open the data and build the network; continue from ``folder``'s state where there is one.

    Raises:
        UnetBatchError: settings, stores, checkpoints or a state that cannot be used.
    """
    run = config.run
    _check_batch(run, ranks)
    spec = spec_of(config.model)
    saved = ranks.in_turn(lambda: _saved_state(folder, spec, config.model_dump(mode="json")))
    wanted = spec if saved is None else saved.spec
    sources = ranks.in_turn(lambda: open_sources(config.data, wanted, folder.index))
    if saved is None:
        require_labelled(sources, known_classes(config.model))
    begun = starting_network(config.model, sources.spec, run.seed)
    loss = WeightedLoss(((1.0, OwnTerm(own)),)) if own else make_loss(config.objective, sources.spec)
    step = _step(run, config.optimiser, loss, ranks, sources.spec, begun.network)
    if saved is not None:
        restore(saved, step)
    trainer = Trainer(
        config=config,
        ranks=ranks,
        folder=folder,
        hooks=hooks,
        sources=sources,
        step=step,
        lr_scheduler=LRScheduler(config.schedule, config.optimiser.learning_rate, run.steps),
        evaluator=_evaluator(config.validation, config.objective.data_range, ranks, sources.spec, step.dtype),
        state=TrainState() if saved is None else saved.state,
    )
    trainer.tell(begun.note if saved is None else f"going on after step {saved.state.step}")
    for remark in remarks(sources):
        trainer.tell(remark)
    return trainer


def _saved_state(folder: RunFolder, spec: ModelSpec, settings: dict[str, Any]) -> SavedState | None:
    if not folder.state.exists():
        return None
    saved = read_state(folder.state)
    check_resumable(folder.state, saved, spec, settings)
    return saved


def _step(
    run: RunConfig,
    optimiser: OptimiserConfig,
    loss: WeightedLoss,
    ranks: Ranks,
    spec: ModelSpec,
    network: nn.Module,
) -> Step:
    """The network on its device, wrapped for its ranks, with its optimiser and moving average."""
    layout = channels_last(spec.dims) if run.channels_last else torch.contiguous_format
    if run.activation_checkpointing:
        checkpoint_activations(network)
    module: nn.Module = Supervised(network, spec, run.deep_supervision, run.seed)
    if run.sync_batchnorm and ranks.count > 1:
        module = convert_sync_batchnorm(module, ranks.device)
    module = open_device(str(ranks.device)).move(module)
    if run.channels_last:
        module = module.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stub lacks it
    parallel: Any = ranks.parallel(module, broadcast_buffers=not run.sync_batchnorm)
    if run.compile:  # around the exchange of gradients, which then runs beside the backward pass
        parallel = torch.compile(parallel)
    set_tf32(allowed=run.tf32)
    precision = resolve_precision(run.precision, ranks.device.type)
    return Step(
        network=module,
        parallel=parallel,
        loss=loss,
        optimiser=make_optimiser(optimiser, module),
        scaler=GradScaler("cuda" if torch.cuda.is_available() else "cpu", enabled=precision == "fp16"),
        ema=None if run.ema is None else EMA(module, run.ema),
        ranks=ranks,
        dtype=_DTYPES[precision],
        layout=layout,
        clip=optimiser.clip,
        fixed_from=round(run.steps * (1 - run.fixed_statistics)),
    )


def _evaluator(
    config: ValidationConfig, data_range: float, ranks: Ranks, spec: ModelSpec, dtype: torch.dtype | None
) -> Evaluator:
    predictor = RegionPredictor(spec, ranks.device, dtype, config.tile, config.batch, config.tta)
    return Evaluator(config, spec, predictor, ranks, data_range)


def _check_batch(run: RunConfig, ranks: Ranks) -> None:
    if run.batch % (parts := ranks.count * run.accumulate):
        raise InputError(
            f"run.batch: {run.batch} samples cannot be shared by {ranks.count} ranks in {run.accumulate} "
            f"parts each; give a multiple of {parts}"
        )
