"""A folder as Hugging Face's hub shows it: config.json, model.safetensors, README.md."""

import json
from pathlib import Path

from torch import nn

from unet_batch.errors import InputError
from unet_batch.models.checkpoint import save_checkpoint
from unet_batch.models.spec import ModelSpec

LIBRARY = "unet_batch"


def write_folder(path: Path, network: nn.Module, spec: ModelSpec) -> None:
    """Make the folder ``path``; its safetensors file is a checkpoint of this package as it is.

    Raises:
        InputError: an exported network, whose code no safetensors holds.
    """
    if spec.architecture == "exported":
        raise InputError("an exported network is a program, no weights; export it to .onnx, .pt2 or .zip")
    path.mkdir()
    save_checkpoint(path / "model.safetensors", network, spec)
    config = {"library_name": LIBRARY, "model_type": spec.architecture, "spec": spec.model_dump(mode="json")}
    (path / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (path / "README.md").write_text(_card(spec), encoding="utf-8")


def _card(spec: ModelSpec) -> str:
    field = spec.receptive_field()
    exact = "the result equals one untiled pass" if field.exact else "tiles are blended"
    return f"""---
library_name: {LIBRARY}
pipeline_tag: image-segmentation
tags: [segmentation, {spec.architecture}]
---

# {spec.architecture}, {spec.dims}-D, {spec.in_channels} channels to {spec.out_channels} {spec.head} outputs

Outputs: {", ".join(spec.classes)}. It looks {field.margin} pixels past each tile, whose sizes are
{field.multiple} k + {field.remainder}; {exact}.

    unet-batch predict IMAGE.zarr OUT.zarr --model model.safetensors

Say here what it was trained on, how well it does, under which licence it is and what it is not for.
"""
