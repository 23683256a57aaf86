"""Stain jitter: haematoxylin, eosin and residue of RGB slides, each scaled and shifted in optical density.

Source: Ruifrok and Johnston 2001 (the vectors, as in scikit-image's rgb_from_hed), Tellez et al. 2018.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Optical density in red, green and blue (columns) of each stain (rows).
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])


def jittered(rgb_CS: Tensor, factors: tuple[float, ...], addends: tuple[float, ...]) -> Tensor:
    """Values 0 to 255, (3, *spatial) float32, with each stain times its factor plus its addend."""
    # Density d = s M of stains s becomes (s F + a) M = d (M^-1 F M) + a M: one 3 x 3 matrix per sample.
    mixed = np.linalg.inv(_STAINS) @ np.diag(factors) @ _STAINS
    density = (rgb_CS + 1).div_(256).log_().neg_()
    changed: Tensor = torch.tensordot(_tensor(mixed.T, rgb_CS), density, dims=1)
    changed += _tensor(np.asarray(addends) @ _STAINS, rgb_CS).view(-1, *(1,) * (rgb_CS.ndim - 1))
    return changed.neg_().exp_().mul_(256).sub_(1).clamp_(0, 255)


def _tensor(values: NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)
