"""``unet-batch model``: new, info."""

from math import prod
from pathlib import Path
from typing import Any

import click

from unet_batch.cli import options

LEGAL_SHOWN = 6


@click.group()
def command() -> None:
    """Make and inspect networks."""


@command.command()
@click.argument("spec_file", metavar="SPEC.yaml", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one key of the spec.")
@click.option("--encoder", type=click.Path(path_type=Path), help="Encoder weights (safetensors; ternausnet).")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random weights.")
def new(spec_file: Path, out: Path, overrides: tuple[str, ...], encoder: Path | None, seed: int) -> None:
    """Write an untrained network that SPEC.yaml describes to the checkpoint OUT."""
    import torch  # noqa: PLC0415 - imported when it runs

    from unet_batch.models.build import build  # noqa: PLC0415
    from unet_batch.models.checkpoint import save_checkpoint  # noqa: PLC0415
    from unet_batch.models.spec import ModelSpec  # noqa: PLC0415
    from unet_batch.models.ternausnet import load_encoder  # noqa: PLC0415

    spec = ModelSpec.from_yaml(spec_file, overrides)
    torch.manual_seed(seed)
    model = build(spec)
    if encoder is not None:
        load_encoder(model, encoder)
    save_checkpoint(out, model, spec)
    click.echo(f"{out}: {spec.architecture}, {sum(p.numel() for p in model.parameters()):,} parameters")


@command.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@options.as_json
def info(checkpoint: Path, as_json: bool) -> None:
    """Print spec, parameters, margin and legal tiles of CHECKPOINT (or of a SPEC.yaml)."""
    found = _info(checkpoint)
    if as_json:
        options.echo_json(found)
        return
    for key, value in found.pop("spec").items():
        if value is not None:
            click.echo(f"{key:>16}: {value}")
    for key, value in found.items():
        if value not in (None, {}):
            click.echo(f"{key:>16}: {value}")


def _info(path: Path) -> dict[str, Any]:
    from unet_batch.models.checkpoint import EXPORTED_SUFFIXES, read_card, read_spec  # noqa: PLC0415
    from unet_batch.models.header import read_header  # noqa: PLC0415
    from unet_batch.models.spec import ModelSpec  # noqa: PLC0415

    is_spec = path.suffix in (".yaml", ".yml")
    is_checkpoint = not is_spec and path.suffix not in EXPORTED_SUFFIXES
    spec = ModelSpec.from_yaml(path) if is_spec else read_spec(path)
    parameters = None
    if is_checkpoint:
        shapes = read_header(path).shapes
        # Running statistics of batch norms are stored with the weights, but nobody counts them as such.
        parameters = sum(prod(s) for key, s in shapes.items() if not key.endswith(_BUFFERS))
    reach = spec.reach()
    sizes = [reach.input_size(1) + k * reach.multiple for k in range(LEGAL_SHOWN)]
    return {
        "spec": spec.model_dump(mode="json"),
        "parameters": parameters,
        "margin": reach.margin,
        "multiple": reach.multiple,
        "exact": reach.exact,
        "legal_inputs": [reach.fixed] if reach.fixed else sizes,
        "legal_outputs": [reach.output_size(n) for n in ([reach.fixed] if reach.fixed else sizes)],
        "card": read_card(path) if is_checkpoint else {},
    }


_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
