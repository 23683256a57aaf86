"""Checkpoints keep what they are given; everything else is refused in one line."""

import json
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unet_batch.errors import CheckpointError, MissingError, OutputError
from unet_batch.models.build import build
from unet_batch.models.checkpoint import (
    file_hash,
    load_checkpoint,
    read_card,
    read_spec,
    save_checkpoint,
)
from unet_batch.models.exported import load_exported
from unet_batch.models.header import read_header
from unet_batch.models.spec import ModelSpec

SPEC = ModelSpec(in_channels=2, classes=["a", "b"], width=2, depth=1, norm="batch")


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, build(SPEC), SPEC, card={"dice": 0.9})
    return path


def rewrite(path, tensors=None, **metadata):
    header = {"format": "unet_batch/1", "spec": SPEC.model_dump_json(), "card": "{}", **metadata}
    save_file(load_file(path) if tensors is None else tensors, path, header)


def test_a_network_comes_back_as_it_was(tmp_path):
    torch.manual_seed(0)
    path, model = tmp_path / "net.safetensors", build(SPEC)
    model(torch.randn(4, 2, 20, 20))  # moves batch norm's running statistics
    save_checkpoint(path, model, SPEC, card={"dice": 0.9})
    again, spec = load_checkpoint(path)
    assert spec == read_spec(path) == SPEC
    assert read_card(path) == {"dice": 0.9}
    assert not again.training
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    assert all(parameter.requires_grad for parameter in again.parameters())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_weights_load_as_float32(tmp_path, dtype):
    path, model = tmp_path / "net.safetensors", build(SPEC)
    save_checkpoint(path, model, SPEC, dtype=dtype)
    stored = load_file(path)
    assert stored["head.weight"].dtype == getattr(torch, dtype)
    assert stored["encoder.0.1.running_var"].dtype == torch.float32
    again, _ = load_checkpoint(path)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert torch.equal(again.head.weight, model.head.weight.to(getattr(torch, dtype)).float())


def test_the_hash_follows_the_content(saved, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(saved.read_bytes())
    assert file_hash(copy) == file_hash(saved)
    rewrite(copy, card='{"dice": 0.8}')
    assert file_hash(copy) != file_hash(saved)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".ckpt", ".pt", ".ts"])
@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_pickles_are_never_opened(tmp_path, suffix, write):
    path, crater = tmp_path / f"net{suffix}", tmp_path / "crater"
    path.with_suffix(".yaml").write_text(
        "{architecture: exported, in_channels: 1, classes: [a, b], margin: 0}"
    )
    write(Bomb(crater), path)
    with pytest.raises(CheckpointError, match=r"pickle|zip|not an exported network"):
        load_checkpoint(path)
    assert not crater.exists()


@pytest.mark.parametrize("kept", [0, 7, 8, 100, 0.5, -1])
def test_truncated_files(saved, kept):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    for read in (load_checkpoint, read_spec):
        with pytest.raises(
            CheckpointError, match=r"net.safetensors: .*(copy the file again|not a safetensors)"
        ):
            read(saved)


@pytest.mark.parametrize(
    "header",
    [
        b"not json at all",
        b"[1, 2]",
        b'{"w": 3}',
        b'{"w": {"shape": [1]}}',
        b'{"__metadata__": 3}',
        b'{"w": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 0]}}',
        b"[" * 20000,
        b"\xff\xfe",
    ],
)
def test_hostile_headers(tmp_path, header):
    path = tmp_path / "net.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def test_a_header_of_128_bytes_is_no_pickle(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes((128).to_bytes(8, "little") + b"{}".ljust(128))
    with pytest.raises(CheckpointError, match="of another program"):
        read_spec(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "pt"}, "format 'pt', not unet_batch/1"),
        ({"spec": "{"}, "spec is not JSON"),
        ({"spec": "[]"}, "spec"),
        ({"spec": json.dumps({**SPEC.model_dump(), "depht": 1})}, "did you mean `depth`"),
        (
            {"spec": json.dumps({**SPEC.model_dump(), "width": 4096, "depth": 8})},
            "belongs to another network",
        ),
        ({"spec": json.dumps({**SPEC.model_dump(), "width": 3})}, r"shape \[2, 2, 3, 3\], the network needs"),
        (
            {"spec": json.dumps({**SPEC.model_dump(), "norm": "none"})},
            r"lacks encoder\.0\.2\.weight.* and 3 more",
        ),
        ({"spec": json.dumps({**SPEC.model_dump(), "depth": 2})}, "lacks encoder.1"),
        ({"card": "3"}, "damaged model card"),
    ],
)
def test_foreign_and_mismatched_files(saved, metadata, message):
    rewrite(saved, **metadata)
    with pytest.raises(CheckpointError, match=message):
        (read_card if "card" in metadata else load_checkpoint)(saved)


def test_tensors_too_many_are_named(saved):
    rewrite(saved, {**load_file(saved), "extra.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"has extra\.weight too"):
        load_checkpoint(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(saved, value):
    tensors = load_file(saved)
    tensors["head.weight"][0, 0] = value
    rewrite(saved, tensors)
    with pytest.raises(CheckpointError, match=r"head.weight holds NaN or infinite"):
        load_checkpoint(saved)


def test_what_cannot_be_loaded_is_not_saved(tmp_path):
    path, model = tmp_path / "net.safetensors", build(SPEC)
    with pytest.raises(CheckpointError, match="another network"):
        save_checkpoint(path, model, SPEC.model_copy(update={"width": 3}))
    with torch.no_grad():
        model.head.bias[0] = 1e6
    with pytest.raises(CheckpointError, match="infinite"):
        save_checkpoint(path, model, SPEC, dtype="float16")
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "none" / "net.safetensors", tmp_path / "folder"):
        with pytest.raises(OutputError, match=r"does not exist; make it|a folder is in the way"):
            save_checkpoint(place, build(SPEC), SPEC)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_missing_files(tmp_path):
    for read in (load_checkpoint, read_spec, read_card, file_hash):
        with pytest.raises(MissingError, match="no such file"):
            read(tmp_path / "none.safetensors")
    for read in (load_checkpoint, read_card, file_hash):
        with pytest.raises(CheckpointError, match="cannot be read"):
            read(tmp_path)


def flipped(path, place):
    data = bytearray(path.read_bytes())
    data[place // 8] ^= 1 << place % 8
    damaged = path.with_name(f"flipped{path.suffix}")
    damaged.write_bytes(data)
    return damaged


def test_no_flipped_bit_of_the_weights_is_taken(saved):
    data = saved.read_bytes()
    first = 8 + int.from_bytes(data[:8], "little")
    for place in range(8 * first, 8 * len(data), 2011):
        with pytest.raises(CheckpointError):
            load_checkpoint(flipped(saved, place))


def test_a_spec_that_changed_is_not_taken(saved):
    digest = read_header(saved).metadata["sha256"]
    changed = SPEC.model_copy(update={"classes": ("a", "c")})
    rewrite(saved, spec=changed.model_dump_json(), sha256=digest)
    with pytest.raises(CheckpointError, match="not as they were saved"):
        load_checkpoint(saved)


def test_a_file_without_a_checksum_is_taken_and_that_is_said(saved, caplog):
    rewrite(saved)
    assert load_checkpoint(saved)[1] == SPEC
    assert "without a checksum" in caplog.text


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_no_flipped_bit_of_an_exported_network_is_taken(tmp_path, suffix):
    path, x = tmp_path / f"net{suffix}", torch.zeros(1, 2, 20, 20)
    network = build(SPEC).eval()
    if suffix == ".pt":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # people have such files
            torch.jit.trace(network, x).save(path)
    else:
        torch.export.save(torch.export.export(network, (x,)), path)
    with zipfile.ZipFile(path) as archive:
        stored = [member for member in archive.infolist() if member.compress_type == zipfile.ZIP_STORED]
        content = archive.read(max(stored, key=lambda member: member.file_size))
    first = path.read_bytes().index(content)
    for place in range(8 * first, 8 * (first + len(content)), max(1, len(content) // 4)):
        with pytest.raises(CheckpointError):
            load_exported(flipped(path, place))
