"""What a YAML file or ``--set key=value`` may say about a training."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from unet_batch.config import Config, DeviceName
from unet_batch.inference.views import Averaging
from unet_batch.models.instance_rules import InstanceRules
from unet_batch.models.spec import ModelSpec
from unet_batch.training.augment.config import AugmentConfig
from unet_batch.training.data.config import DataConfig, SamplingConfig
from unet_batch.training.losses.config import LossConfig

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]


class NetworkConfig(Config):
    """The network and what its weights begin as.

    Attributes:
        spec: its description, or a preset; left out, that of the checkpoint it starts from.
        start: written ``from``: a checkpoint to fine-tune. What fits the spec is loaded, the rest is named.
        encoder: weights of a VGG11 encoder in safetensors, for architecture ternausnet.
    """

    model_config = ConfigDict(populate_by_name=True)

    spec: ModelSpec | None = None
    start: Path | None = Field(default=None, alias="from")
    encoder: Path | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.spec is None and self.start is None:
            raise ValueError("needs a `spec`, or `from` with a checkpoint to start from")
        return self


class OptimiserConfig(Config):
    """How weights follow their gradients.

    Attributes:
        kind: ``adamw`` or ``sgd``.
        learning_rate: at the height of the schedule.
        weight_decay: of convolution weights; biases and norms are free of it.
        momentum: of sgd; 0.99 as in the U-Net paper.
        nesterov: of sgd.
        betas: of adamw.
        clip: largest norm of the whole gradient; null: no limit.
    """

    kind: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 1e-2
    momentum: BelowOne = 0.99
    nesterov: bool = False
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    clip: Positive | None = None

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not (self.kind == "sgd" and self.momentum):
            raise ValueError("`nesterov` needs kind sgd and a momentum above 0")
        return self


class ScheduleConfig(Config):
    """The learning rate over the steps, as a factor of the optimiser's.

    Attributes:
        kind: ``constant``; ``poly``: (1 - step / steps) ** power; ``cosine``: half a wave.
        warmup: steps over which the rate rises from 0, in a straight line.
        power: of poly.
        final: factor that poly and cosine end at.
    """

    kind: Literal["constant", "poly", "cosine"] = "cosine"
    warmup: int = Field(default=0, ge=0)
    power: Positive = 0.9
    final: Share = 0.0


class MembraneScores(Config):
    """Scores of the cells that a membrane class parts (V-Rand, V-Info), for planes.

    Attributes:
        membrane: name of the class.
        thresholds: probabilities of it from which a pixel is membrane; the best on the validation boxes is
            kept, and used for the test boxes.
    """

    membrane: str = "membrane"
    thresholds: tuple[Share, ...] = Field(default=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), min_length=1)


class InstanceScores(InstanceRules):
    """Average precision of instances, made of the predicted classes as ``unet-batch objects`` makes them.

    Of ``reach``, ``connectivity`` and ``smallest``, what is left open is as the spec's ``objects`` say.
    ``smallest`` leaves instances out of the prediction, never of the truth.

    Attributes:
        interior: name of the class whose connected pixels are the instances before they grow.
        background: name of the class that instances do not grow into.
    """

    interior: str = "interior"
    background: str = "background"


class ValidationConfig(Config):
    """How the validation boxes are predicted and judged.

    Attributes:
        every: steps between two validations; there is one at the last step too.
        choose: the score that the best checkpoint is chosen by; null: ``mean_dice``, or ``pearson`` for
            regression. Any score of metrics.csv may be named; more is better, but for names that end in
            ``error``.
        tile: pixels that one network input answers for; null: the largest that suit boxes and network.
        patience: validations without a better score after which the run ends; null: none.
        batch: tiles per network call.
        tta: average over flips of every tile (``true``), or over flips and quarter turns (``turns``), as
            `predict` does with its setting of that name.
        membranes: scores of cells between membranes, or null.
        instances: scores of instances, or null.
    """

    every: Count = 500
    choose: str | None = None
    patience: Count | None = None
    tile: Count | None = None
    batch: Count = 1
    tta: Averaging = False
    membranes: MembraneScores | None = None
    instances: InstanceScores | None = None


class RunConfig(Config):
    """How long and in what arithmetic.

    Attributes:
        out: folder for checkpoints, curves and the state of the run; the same command goes on from there.
        steps: updates of the weights.
        batch: samples per update, over all ranks.
        accumulate: parts that a rank's share of the batch is computed in, to save memory.
        seed: of the first weights and of dropout; the data have their own, ``sampling.seed``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; under torchrun each rank has its own GPU.
        precision: ``auto``, ``fp32``, or autocast to ``bf16`` or ``fp16`` (with a loss scaler).
        channels_last: memory layout that convolutions run fastest in.
        tf32: whether fp32 on GPUs may compute in TF32, which keeps 10 bits of the mantissa and is several
            times as fast.
        compile: torch.compile; costs half a minute or more at the start.
        ema: decay of the averaged weights, for example 0.999; they are what is judged and kept. Null: none.
        deep_supervision: coarser levels of the decoder that learn too, each by a head of its own.
        activation_checkpointing: compute activations again in the backward pass, to save memory.
        sync_batchnorm: batch norms see the batch of all ranks.
        fixed_statistics: share of the steps, the last ones, in which batch norms no longer measure each batch
            but keep their statistics, as in prediction: worth some of the steps where batches are small.
        checkpoint_every: steps between two saved states.
        most_skipped: steps in a row whose loss is not finite before the run ends in an error.
        stored_as: type of the weights in best.safetensors and last.safetensors.
        join_seconds: how long a rank waits for the others at the start.
        overwrite: begin anew where a finished training lies in ``out``.
    """

    out: Path
    steps: Count = 10_000
    batch: Count = 8
    accumulate: Count = 1
    seed: int = Field(default=0, ge=0, lt=2**63)
    device: DeviceName = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    tf32: bool = False
    compile: bool = False
    ema: BelowOne | None = None
    deep_supervision: int = Field(default=0, ge=0, le=8)
    activation_checkpointing: bool = False
    sync_batchnorm: bool = True
    fixed_statistics: Share = 0.0
    checkpoint_every: Count = 500
    most_skipped: Count = 10
    stored_as: Literal["float32", "float16", "bfloat16"] = "float32"
    join_seconds: Positive = 50.0
    overwrite: bool = False

    @model_validator(mode="after")
    def _parts_of_the_batch(self) -> Self:
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} cannot be parted into {self.accumulate} equal parts")
        return self


class TrainConfig(Config):
    """A whole training.

    Attributes:
        model: the network.
        data: what it learns from.
        sampling: how samples are drawn.
        augment: what is done to them.
        objective: what is made small.
        optimiser: how weights follow their gradients.
        schedule: the learning rate over the steps.
        validation: how the network is judged on the way.
        run: how long, where to, and in what arithmetic.
    """

    model: NetworkConfig
    data: DataConfig
    sampling: SamplingConfig = SamplingConfig()
    augment: AugmentConfig = AugmentConfig()
    objective: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    validation: ValidationConfig = ValidationConfig()
    run: RunConfig
