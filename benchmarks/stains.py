"""A network that is sure of itself, trained in minutes: it tells glass, blue and brown apart by colour.

Random weights would decide many pixels by the last bit and say nothing about labels that agree.
"""

from pathlib import Path

import numpy as np
import torch
from inputs import NORMALISATION, Network, tissue
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]
from skimage.color import rgb2hed
from torch.nn.functional import cross_entropy

from unet_batch.models.build import build
from unet_batch.models.checkpoint import save_checkpoint
from unet_batch.models.machine import cpu_has_bf16
from unet_batch.models.spec import ModelSpec

STEPS, PATCH, BATCH = 150, 192, 4


def classes_by_colour(pixels_CYX: NDArray[np.uint8]) -> NDArray[np.int64]:
    """0 glass, 1 haematoxylin (blue), 2 DAB (brown): which stain is strongest after some smoothing."""
    stains = rgb2hed(np.moveaxis(pixels_CYX, 0, -1))
    blue, brown = (gaussian_filter(stains[..., k], 2) for k in (0, 2))
    strength = np.stack([np.full_like(blue, 0.03), blue, brown])
    return np.asarray(strength.argmax(axis=0), np.int64)


def train(path: Path, keys: Network) -> Path:
    """Save a network of ``keys`` to ``path``; its card tells the share of right pixels in the last steps."""
    torch.manual_seed(0)
    spec = ModelSpec.model_validate({"normalisation": NORMALISATION, **keys})
    model = build(spec).train()
    pixels = tissue(2048, seed=1)
    labels = torch.from_numpy(classes_by_colour(pixels))
    x_CYX = (torch.from_numpy(pixels).float() - NORMALISATION["mean"][0]) / NORMALISATION["std"][0]
    optimiser = torch.optim.AdamW(model.parameters(), 5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, STEPS)
    right = []
    for corners in np.random.default_rng(0).integers(0, 2048 - PATCH, (STEPS, BATCH, 2)):
        cuts = [(slice(y, y + PATCH), slice(x, x + PATCH)) for y, x in corners.tolist()]
        batch, wanted = torch.stack([x_CYX[(..., *c)] for c in cuts]), torch.stack([labels[c] for c in cuts])
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bf16()):
            logits = model(batch.contiguous(memory_format=torch.channels_last))
        loss = cross_entropy(logits.float(), wanted)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        right.append(float((logits.argmax(1) == wanted).float().mean()))
    card = {"steps": STEPS, "accuracy": round(float(np.mean(right[-10:])), 4)}
    save_checkpoint(path, model.eval(), spec, card)
    return path
