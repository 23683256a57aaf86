"""BioImage.IO models (rdf.yaml, in a folder or zip): ONNX, TorchScript or named weights; nothing is fetched.

What comes before the network must be a normalisation that a spec can say. The model's own test tensors are
replayed through what was made of it, and must come out as it says.
"""

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from unet_batch.config import read_yaml
from unet_batch.errors import CheckpointError, FormatError, InputError
from unet_batch.models.checkpoint import load_checkpoint
from unet_batch.models.importing.imported import Imported
from unet_batch.models.importing.library import import_weights
from unet_batch.models.importing.programs import import_program
from unet_batch.models.spec import MeanStd, ModelSpec, Percentiles

LARGEST_ZIP = 20 << 30  # bytes of all members together
AGREE = 1e-2  # of the largest value: test tensors were often made by another library
FORMS = {"onnx": ".onnx", "torchscript": ".pt", "pytorch_state_dict": ".pth"}
_PRE = "zero_mean_unit_variance with fixed mean and std, scale_linear, scale_range by percentiles"


def import_bioimage(source: Path, out: Path, given: Mapping[str, Any]) -> Imported:
    """Take over the BioImage.IO model at ``source`` as ``out``.

    Raises:
        FormatError: no such model, or one that names files elsewhere.
        InputError: weights or processing that are not understood, or an ending of ``out`` that does not fit.
        CheckpointError: weights that cannot be used, or test tensors that come out otherwise.
    """
    with _opened(source) as folder:
        description = read_yaml(folder / "rdf.yaml")
        weights = description.get("weights")
        forms = [form for form in FORMS if isinstance(weights, dict) and isinstance(weights.get(form), dict)]
        if not forms or not isinstance(weights, dict):
            raise InputError(
                f"{source}: holds {_listed(weights)}, none of {', '.join(FORMS)}; convert it first"
            )
        form = next((form for form in forms if FORMS[form] == out.suffix), forms[0])
        told = {**_described(source, description), **given}
        path = _inside(source, folder, weights[form].get("source"))
        with _named(path, FORMS[form]) as file:
            if form == "pytorch_state_dict":
                found = import_weights(file, out, told)
            else:
                found = import_program(file, out, told)
        replayed = _replayed(source, folder, description, found)
    return Imported(out, found.spec, (*found.notes, replayed))


@contextmanager
def _opened(source: Path) -> Iterator[Path]:
    """The folder of the model; of a zip, in a temporary place, with no member outside of it."""
    if source.is_dir():
        yield source
        return
    try:
        with zipfile.ZipFile(source) as archive, tempfile.TemporaryDirectory(prefix="unet_batch_") as name:
            folder = Path(name)
            _check_members(source, archive)
            archive.extractall(folder)
            if not (folder / "rdf.yaml").is_file():
                raise FormatError(f"{source}: holds no rdf.yaml; give a BioImage.IO model")
            yield folder
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise FormatError(f"{source}: not a whole zip ({error}); copy it again") from None


def _check_members(source: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    for member in members:
        parts = PurePosixPath(member.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in member.filename:
            raise FormatError(f"{source}: its member {member.filename!r} lies outside; it is not opened")
    if sum(member.file_size for member in members) > LARGEST_ZIP:
        raise FormatError(f"{source}: holds more than {LARGEST_ZIP >> 30} GB; give the folder")


def _inside(source: Path, folder: Path, name: Any) -> Path:
    """The file of the model that its description names; never one elsewhere."""
    text = str(name.get("source") if isinstance(name, dict) else name)
    if "://" in text:
        raise FormatError(f"{source}: names {text[:80]}, which is not fetched; give a model that is whole")
    path = (folder / text).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise FormatError(f"{source}: names {text[:80]!r}, which is not in it; copy it again")
    return path


@contextmanager
def _named(path: Path, suffix: str) -> Iterator[Path]:
    """``path``, as a file with the ending that says what it is."""
    if path.suffix == suffix:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="unet_batch_") as folder:
        named = Path(folder) / f"{path.stem}{suffix}"
        shutil.copyfile(path, named)
        yield named


def _described(source: Path, description: Mapping[str, Any]) -> dict[str, Any]:
    """What the description says of dimensions, channels, classes and normalisation."""
    ours = description.get("config", {}).get("unet_batch", {}).get("spec")
    if isinstance(ours, dict):
        spec = ModelSpec.model_validate(ours)
        field = spec.receptive_field()
        reach = {"margin": field.margin, "multiple": field.multiple, "remainder": field.remainder}
        reach |= {"exact": field.exact} | ({"fixed_size": field.fixed} if field.fixed else {})
        same = ("dims", "in_channels", "classes", "head", "normalisation", "pixel_size")
        return {key: value for key, value in ours.items() if key in same and value is not None} | reach
    try:
        taken = description["inputs"][0]
        axes = taken["axes"]
        names = axes if isinstance(axes, str) else "".join(_axis(axis) for axis in axes)
        values: dict[str, Any] = {"dims": 3 if "z" in names else 2}
        values |= _normalisation(source, taken.get("preprocessing", []))
        for given in description["outputs"][0].get("postprocessing", []):
            if (name := given.get("id", given.get("name"))) != "sigmoid":
                raise InputError(
                    f"{source}: its postprocessing {name} cannot be said in a spec; leave it out"
                )
    except (KeyError, IndexError, TypeError, AttributeError):
        raise FormatError(f"{source}: rdf.yaml describes no image in and out; mend it") from None
    return values


def _axis(axis: Mapping[str, Any]) -> str:
    return str(axis.get("id", axis.get("type", "")))[:1]


def _normalisation(source: Path, steps: Any) -> dict[str, Any]:
    """The spec's ``normalisation`` from the steps that come before the network."""
    found: dict[str, Any] = {}
    for step in steps:
        name, values = step.get("id", step.get("name")), step.get("kwargs", {})
        if name == "ensure_dtype":
            continue
        if "normalisation" in found:
            raise InputError(f"{source}: several steps of preprocessing; only one can be said in a spec")
        told = _step(str(name), values)
        if told is None:
            raise InputError(f"{source}: its preprocessing {name} ({values}) is not known; known are {_PRE}")
        found["normalisation"] = told
    return found


def _step(name: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
    fixed = name == "fixed_zero_mean_unit_variance" or values.get("mode") == "fixed"
    if fixed and {"mean", "std"} <= set(values):
        return {key: list(np.atleast_1d(values[key]).tolist()) for key in ("mean", "std")}
    if name == "scale_linear":
        gain, offset = (
            np.atleast_1d(values.get(key, usual)) for key, usual in (("gain", 1.0), ("offset", 0.0))
        )
        if (gain > 0).all():
            return {"mean": (-offset / gain).tolist(), "std": (1 / gain).tolist()}
    if name == "scale_range":
        low, high = float(values.get("min_percentile", 0)), float(values.get("max_percentile", 100))
        return {"percentiles": [low, high]}
    return None


def _replayed(source: Path, folder: Path, description: Mapping[str, Any], found: Imported) -> str:
    """Compute the model's test input and compare with its test output; a line that says so."""
    try:
        names = [_test_tensor(description, side) for side in ("inputs", "outputs")]
        tensors = [torch.from_numpy(_array(_inside(source, folder, name))) for name in names]
    except KeyError:
        return "it has no test tensors to compare with"
    network, spec = load_checkpoint(found.path)
    with torch.inference_mode():
        logits = network(_normalised(tensors[0], spec))
    wanted = tensors[1]
    largest = float(wanted.abs().max())
    if logits.shape != wanted.shape:
        raise CheckpointError(f"{source}: its test output is {list(wanted.shape)}, not {list(logits.shape)}")
    shown = {"sigmoid": logits.sigmoid(), "softmax": logits.softmax(dim=1)}.get(spec.activation, logits)
    difference = min(float((one - wanted).abs().max()) for one in (shown, logits, logits.sigmoid()))
    if not difference <= AGREE * max(largest, 1e-6):
        raise CheckpointError(
            f"{source}: its test input gives values that differ by {difference:.2g} of {largest:.2g} from "
            "its test output; it needs processing that was not understood"
        )
    return f"its test tensors were replayed: largest difference {difference:.2g}"


def _test_tensor(description: Mapping[str, Any], side: str) -> Any:
    if (
        side in description
        and isinstance(description[side][0], dict)
        and "test_tensor" in description[side][0]
    ):
        return description[side][0]["test_tensor"]
    return description[f"test_{side}"][0]


def _array(path: Path) -> Any:
    try:
        return np.load(io.BytesIO(path.read_bytes()), allow_pickle=False).astype(np.float32)
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(f"{path.name}: no array of numbers ({error}); copy the model again") from None


def _normalised(raw: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """``raw`` as the description has it normalised, one test image."""
    column = (1, -1) + (1,) * (raw.ndim - 2)
    match spec.normalisation:
        case MeanStd(mean=mean, std=std):
            return (raw - torch.tensor(mean).view(column)) / torch.tensor(std).view(column)
        case Percentiles(percentiles=limits):
            low, high = np.percentile(raw.flatten(2).numpy(), limits, axis=2).astype(np.float32)
            start, stop = torch.from_numpy(low).view(column), torch.from_numpy(high).view(column)
            return (raw - start) / (stop - start)
        case _:
            return raw


def _listed(weights: Any) -> str:
    return ", ".join(map(str, weights)) if isinstance(weights, dict) else "no weights"
