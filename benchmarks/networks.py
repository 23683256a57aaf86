"""Networks taken over from other libraries, against those libraries, on a real image: logits and labels.

    python benchmarks/networks.py IMAGE.tif [--only NAME]

Weights are random: what counts is that both compute the same. Writes a line of JSON for each.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
import torch
from torch import Tensor, nn

from unet_batch import export_network, import_network
from unet_batch.models.build import build
from unet_batch.models.checkpoint import load_checkpoint, save_checkpoint
from unet_batch.models.library import library_network
from unet_batch.models.spec import ModelSpec

Case = Callable[[Path], tuple[Path, nn.Module]]
CLASSES = ["a", "b", "c"]
SMP = {"architecture": "smp", "in_channels": 3, "classes": CLASSES}
MONAI = {"architecture": "monai", "in_channels": 3, "classes": CLASSES}
NETS = {
    "smp Unet resnet18": {**SMP, "name": "Unet", "encoder": "resnet18"},
    "smp FPN resnet18": {**SMP, "name": "FPN", "encoder": "resnet18"},
    "smp DeepLabV3Plus resnet18": {**SMP, "name": "DeepLabV3Plus", "encoder": "resnet18"},
    "smp UnetPlusPlus mobilenet_v2": {**SMP, "name": "UnetPlusPlus", "encoder": "mobilenet_v2"},
    "MONAI UNet": {
        **MONAI, "name": "UNet", "options": {"channels": [8, 16, 32], "strides": [2, 2], "norm": "batch"},
    },
    "MONAI SegResNet": {**MONAI, "name": "SegResNet", "options": {"init_filters": 8}},
    "MONAI BasicUNet": {**MONAI, "name": "BasicUNet", "options": {"features": [8, 8, 16, 16, 32, 8]}},
}  # fmt: skip
OWN = ModelSpec(in_channels=3, classes=CLASSES, width=8, depth=3, norm="batch", blocks="residual")
FORMS = (".onnx", ".pt2", ".pt", ".zip")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("image", type=Path)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    pixels = tifffile.imread(given.image)
    pixels = pixels if pixels.shape[0] <= 4 else np.moveaxis(pixels, -1, 0)
    x = torch.from_numpy(pixels[None, :3, :256, :256].astype(np.float32)) / 255
    for name, values in NETS.items():
        if given.only in name:
            print(json.dumps(_of_library(name, values, x)), flush=True)
    for form in FORMS:
        if given.only in form:
            print(json.dumps(_of_program(form, x)), flush=True)


def _of_library(name: str, values: dict, x: Tensor) -> dict:
    theirs = library_network(ModelSpec.model_validate(values)).network.eval()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        torch.save(theirs.state_dict(), Path(folder) / "theirs.pth")
        began = time.perf_counter()
        found = import_network(Path(folder) / "theirs.pth", Path(folder) / "net.safetensors", values)
        seconds = time.perf_counter() - began
        ours = load_checkpoint(found.path)[0](x)
        wanted = theirs(x)
        wanted = wanted[0] if isinstance(wanted, list | tuple) else wanted
        return _line(name, ours, wanted, found.spec, seconds)


def _of_program(form: str, x: Tensor) -> dict:
    with tempfile.TemporaryDirectory() as name, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder, theirs = Path(name), build(OWN, 0).eval()
        save_checkpoint(folder / "net.safetensors", theirs, OWN)
        with torch.inference_mode(mode=False):
            export_network(folder / "net.safetensors", folder / f"out{form}")
        began = time.perf_counter()
        back = folder / f"back{'.pt' if form == '.zip' else form}"
        found = import_network(folder / f"out{form}", back, {"in_channels": 3})
        seconds = time.perf_counter() - began
        size = OWN.input_size(160)
        part = x[:, :, :size, :size]
        return _line(
            f"own network, {form}", load_checkpoint(back)[0](part), theirs(part), found.spec, seconds
        )


def _line(name: str, ours: Tensor, wanted: Tensor, spec: ModelSpec, seconds: float) -> dict:
    same = float((ours.argmax(dim=1) == wanted.argmax(dim=1)).float().mean())
    field = spec.receptive_field()
    return {
        "network": name,
        "largest_difference": float((ours - wanted).abs().max()),
        "equal_labels": same,
        "margin": field.margin if field.exact else None,
        "multiple": field.multiple,
        "seconds_to_import": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
