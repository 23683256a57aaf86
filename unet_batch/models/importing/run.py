"""Import: a network of another program or library becomes one of this package's checkpoints."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from unet_batch.calls import checked
from unet_batch.config import read_values, validate
from unet_batch.errors import FormatError, InputError, MissingError
from unet_batch.models.checkpoint import load_checkpoint, read_card, save_checkpoint
from unet_batch.models.exporting.folder import LIBRARY
from unet_batch.models.importing.bioimage import import_bioimage
from unet_batch.models.importing.imported import Imported
from unet_batch.models.importing.library import import_smp_folder, import_weights, read_json
from unet_batch.models.importing.programs import import_program
from unet_batch.models.spec import ModelSpec

PROGRAMS = (".pt2", ".ts", ".onnx")
WEIGHTS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")


@checked
def import_network(
    source: str | Path,
    out: str | Path,
    spec: str | Path | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> Imported:
    """Take the network at ``source`` over as ``out``, measuring what it is. No code in it runs.

    Args:
        source: a .pt2, TorchScript or ONNX file; weights (.pth, .pt, .ckpt, .bin, .safetensors); a folder of
            segmentation_models_pytorch's ``save_pretrained``; a BioImage.IO model, as a zip or folder.
        out: the new file: programs keep their ending, weights become .safetensors.
        spec: keys of a ``ModelSpec``, or the YAML file that holds them, which count instead of what is found.
        overrides: ``key=value``, as ``--set`` has them.

    Raises:
        MissingError: no such file or folder.
        FormatError, CheckpointError: what is there cannot be used, or is not safe to read.
        InputError: a library that is not installed, or a spec that does not fit.
    """
    source, out = Path(source), Path(out)
    if not source.exists():
        raise MissingError(f"{source}: no such file or folder; check the path of the network")
    path = Path(spec) if isinstance(spec, str | Path) else None
    given = {**(spec if isinstance(spec, Mapping) else {}), **read_values(path, overrides)}
    if source.is_dir():
        if (source / "config.json").is_file():
            return _of_folder(source, out, given)
        if (source / "rdf.yaml").is_file():
            return import_bioimage(source, out, given)
        raise FormatError(f"{source}: a folder of no known kind; give the network's file")
    if source.suffix == ".zip":
        return import_bioimage(source, out, given)
    if source.suffix in PROGRAMS or (source.suffix == ".pt" and _has_code(source)):
        return import_program(source, out, given)
    if source.suffix in WEIGHTS:
        return import_weights(source, out, given)
    raise InputError(
        f"{source}: not known; give {', '.join(dict.fromkeys((*PROGRAMS, *WEIGHTS)))} or a folder"
    )


def _of_folder(source: Path, out: Path, given: Mapping[str, Any]) -> Imported:
    """One that this package wrote for Hugging Face, or segmentation_models_pytorch."""
    weights = source / "model.safetensors"
    if read_json(source / "config.json").get("library_name") != LIBRARY:
        return import_smp_folder(source, out, given)
    network, spec = load_checkpoint(weights)
    spec = validate(ModelSpec, {**spec.model_dump(mode="json"), **given}, where=str(source))
    save_checkpoint(out, network, spec, read_card(weights))
    return Imported(out, spec)


def _has_code(path: Path) -> bool:
    """Whether a .pt file is TorchScript; without code it is weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("code" in PurePosixPath(name).parts for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
