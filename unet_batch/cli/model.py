"""``unet-batch model``: new, info, import, export."""

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unet_batch.cli import options

if TYPE_CHECKING:
    from unet_batch.models.spec import ModelSpec

# Legal inputs are listed up to these sizes: the published 572 and 132 px lie below them.
LISTED_TO = {2: 600, 3: 200}
FEWEST, MOST_IN_TEXT = 6, 40


@click.group()
def command() -> None:
    """Make and inspect networks."""


@command.command()
@click.argument("spec_file", metavar="SPEC.yaml", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one key of the spec.")
@click.option("--encoder", type=click.Path(path_type=Path), help="Encoder weights (ternausnet, smp).")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random weights.")
def new(spec_file: Path, out: Path, overrides: tuple[str, ...], encoder: Path | None, seed: int) -> None:
    """Write an untrained network that SPEC.yaml describes to the checkpoint OUT."""
    from unet_batch.models.build import build  # noqa: PLC0415 - imported when it runs
    from unet_batch.models.checkpoint import save_checkpoint  # noqa: PLC0415
    from unet_batch.models.library import complete, load_smp_encoder  # noqa: PLC0415
    from unet_batch.models.spec import ModelSpec  # noqa: PLC0415
    from unet_batch.models.ternausnet import load_encoder  # noqa: PLC0415

    spec = complete(ModelSpec.from_yaml(spec_file, overrides))
    model = build(spec, seed)
    if encoder is not None:
        (load_smp_encoder if spec.architecture == "smp" else load_encoder)(model, encoder)
    save_checkpoint(out, model, spec)
    click.echo(f"{out}: {spec.architecture}, {_counts(out, spec, is_yaml=False)['parameters']:,} parameters")


@command.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--spec", "spec_file", metavar="SPEC.yaml", type=click.Path(path_type=Path), help="What it is.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One key of the spec.")
def import_(source: Path, out: Path, spec_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Take over the network SOURCE of another program or library as OUT, and print what it was found to be.

    SOURCE: a .pt2, TorchScript or ONNX file; weights of a network that --spec or --set describe; a folder
    that segmentation_models_pytorch saved. Nothing in it is run, nothing is fetched.
    """
    import yaml  # noqa: PLC0415 - imported when it runs

    from unet_batch.models.importing.run import import_network  # noqa: PLC0415

    found = import_network(source, out, spec_file, overrides)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"{found.path}:")
    values = found.spec.model_dump(mode="json", exclude_defaults=True)
    click.echo(yaml.safe_dump(values, sort_keys=False, default_flow_style=None), nl=False)


@command.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def export(checkpoint: Path, out: Path) -> None:
    """Write CHECKPOINT for other programs, in the form that the name of OUT says.

    OUT: NET.onnx, NET.pt2 (torch.export), NET.pt or NET.ts (TorchScript), NET.zip (BioImage.IO), else a
    folder as Hugging Face has it. What is written must give the network's own logits, or nothing is kept.
    """
    from unet_batch.models.exporting.run import export_network  # noqa: PLC0415 - imported when it runs

    done = export_network(checkpoint, out)
    if done.difference is not None:
        click.echo(f"{done.path}: largest difference of a logit {done.difference:.2g}")
    else:
        click.echo(f"{done.path}: written")


@command.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@options.as_json
def info(checkpoint: Path, as_json: bool) -> None:
    """Print spec, parameters, margin and legal tiles of CHECKPOINT (or of a SPEC.yaml)."""
    found = _info(checkpoint)
    if as_json:
        options.echo_json(found)
        return
    for key, value in {**found.pop("spec"), **found}.items():
        if value not in (None, {}) and not (key == "norm_parameters" and not value):
            click.echo(f"{key:>16}: {_text(value)}")


def _info(path: Path) -> dict[str, Any]:
    from unet_batch.models.checkpoint import EXPORTED_SUFFIXES, read_card, read_spec  # noqa: PLC0415
    from unet_batch.models.spec import LIBRARIES, ModelSpec  # noqa: PLC0415

    is_yaml = path.suffix in (".yaml", ".yml")
    spec = ModelSpec.from_yaml(path) if is_yaml else read_spec(path)
    if is_yaml and spec.architecture in LIBRARIES:
        from unet_batch.models.library import complete  # noqa: PLC0415 - imports torch

        spec = complete(spec)
    return {
        "spec": spec.model_dump(mode="json"),
        **({} if spec.architecture == "exported" else _counts(path, spec, is_yaml=is_yaml)),
        **_sizes(spec),
        "card": {} if is_yaml or path.suffix in EXPORTED_SUFFIXES else read_card(path),
    }


def _counts(path: Path, spec: "ModelSpec", *, is_yaml: bool) -> dict[str, int]:
    """Trained numbers, those of norms apart: the papers leave them out."""
    from unet_batch.models.checkpoint import shapes_of  # noqa: PLC0415
    from unet_batch.models.header import read_header  # noqa: PLC0415

    shapes = shapes_of(spec) if is_yaml else read_header(path).shapes
    norms = {key.removesuffix("weight") for key, shape in shapes.items() if _scales(key, shape)}
    counts = {"parameters": 0, "norm_parameters": 0}
    for key, shape in shapes.items():
        module, _, name = key.rpartition(".")
        if name in ("weight", "bias"):  # not the running statistics of batch norms
            counts["norm_parameters" if f"{module}." in norms else "parameters"] += prod(shape)
    return counts


def _scales(key: str, shape: tuple[int, ...]) -> bool:
    """Whether these are the scales of a norm; weights of convolutions have more axes."""
    return key.endswith(".weight") and len(shape) == 1


def _sizes(spec: "ModelSpec") -> dict[str, Any]:
    reach = spec.receptive_field()
    listed = range(reach.minimum, LISTED_TO[spec.dims] + 1, reach.multiple)
    few = range(reach.minimum, reach.minimum + FEWEST * reach.multiple, reach.multiple)
    sizes = [reach.fixed] if reach.fixed else [*max(listed, few, key=len)]
    rest = f" + {reach.remainder}" if reach.remainder else ""
    rule = f"{reach.multiple}k{rest} px from {reach.minimum} on; n px give n - {2 * reach.margin}"
    return {
        "margin": reach.margin,
        "multiple": reach.multiple,
        "exact": reach.exact,
        "legal_rule": f"only {reach.fixed} px" if reach.fixed else rule,
        "legal_inputs": sizes,
        "legal_outputs": [reach.output_size(size) for size in sizes],
    }


def _text(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if not isinstance(value, list):
        return str(value)
    return ", ".join(map(str, value[:MOST_IN_TEXT])) + (", ..." if len(value) > MOST_IN_TEXT else "")
