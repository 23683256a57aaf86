"""Folding: batch norms and ReLUs merged into the convolutions before them, for inference."""

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose batch norms are merged into the convolutions before them."""
    folded = copy.deepcopy(model).eval()
    for block in [module for module in folded.modules() if isinstance(module, nn.Sequential)]:
        for index in range(len(block) - 1):
            convolution, norm = block[index], block[index + 1]
            if isinstance(convolution, nn.Conv2d | nn.Conv3d) and isinstance(
                norm, nn.BatchNorm2d | nn.BatchNorm3d
            ):
                block[index] = fuse_conv_bn_eval(convolution, norm)
                block[index + 1] = nn.Identity()
    return folded


class ConvolutionRelu(nn.Module):
    """A convolution, its bias and a ReLU in one kernel of cuDNN: one rounding instead of three."""

    def __init__(self, convolution: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *spatial) on a CUDA device."""
        own = self.convolution
        assert not isinstance(own.padding, str)
        return torch.cudnn_convolution_relu(
            x, own.weight, own.bias, own.stride, own.padding, own.dilation, own.groups
        )


def fuse_relu(model: nn.Module) -> nn.Module:
    """``model``, changed: each ReLU that follows a convolution is computed with it."""
    for block in [module for module in model.modules() if isinstance(module, nn.Sequential)]:
        kept = [child for child in block if not isinstance(child, nn.Identity)]
        for convolution, relu in pairwise(kept):
            if isinstance(convolution, nn.Conv2d | nn.Conv3d) and isinstance(relu, nn.ReLU):
                places = {child: place for place, child in enumerate(block)}
                block[places[convolution]] = ConvolutionRelu(convolution)
                block[places[relu]] = nn.Identity()
    return model
