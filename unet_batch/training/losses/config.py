"""What a YAML file may say about the objective."""

from typing import Annotated, Literal

from pydantic import Field

from unet_batch.config import Config

Kind = Literal[
    "cross_entropy", "dice", "dice_ce", "focal", "tversky", "bce", "bce_dice", "l1", "l2", "huber", "ssim"
]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class LossConfig(Config):
    """What is made small. Unlabelled pixels take no part; weight maps multiply every pixel's part.

    Attributes:
        kind: ``auto`` is cross_entropy for classes, bce_dice for multilabel and l2 for regression.
        class_weights: a factor for every class (multilabel: channel), in the spec's order; of cross_entropy,
            focal and bce alone or in a sum.
        dice_weight: factor of Dice in dice_ce and bce_dice.
        background: whether Dice and Tversky count the first class of a multiclass network.
        smooth: pixels added above and below in Dice and Tversky, so that absent classes do no harm.
        gamma: of the focal loss: how much less easy pixels count.
        alpha: cost of a false positive in Tversky; ``alpha = beta = 0.5`` is Dice.
        beta: cost of a false negative in Tversky.
        delta: where Huber turns from squares to magnitudes, in units of the target.
        window: side of SSIM's windows in pixels, odd.
        data_range: largest less smallest target, for SSIM.
    """

    kind: Literal["auto"] | Kind = "auto"
    class_weights: tuple[NotNegative, ...] | None = None
    dice_weight: NotNegative = 1.0
    background: bool = True
    smooth: Positive = 1.0
    gamma: NotNegative = 2.0
    alpha: NotNegative = 0.3
    beta: NotNegative = 0.7
    delta: Positive = 1.0
    window: Literal[3, 5, 7, 9, 11] = 7
    data_range: Positive = 1.0
