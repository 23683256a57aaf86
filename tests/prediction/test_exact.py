"""Stitched answers equal one untiled pass over the mirrored image; equal bytes from every executor."""

import os

import numpy as np
import pytest
import torch

from tests.worlds import noise, shard_hashes, write_image, write_network
from unet_batch.cluster.config import ClusterConfig
from unet_batch.cluster.local import connect
from unet_batch.engine.latest import Latest
from unet_batch.models import heads, normalise
from unet_batch.prediction import block
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.prediction.untiled import compare_untiled
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

FIXED = {"precision": "fp32", "backend": "eager", "device": "cpu"}


def untiled_logits(model, spec, pixels_CS):
    """One pass over the whole image, mirrored by the margin and, behind, up to a legal size."""
    margin, multiple = spec.receptive_field().margin, spec.receptive_field().multiple
    inputs = [spec.input_size(-(-n // multiple) * multiple) for n in pixels_CS.shape[1:]]
    pads = [(margin, size - n - margin) for size, n in zip(inputs, pixels_CS.shape[1:], strict=True)]
    x = torch.from_numpy(np.pad(pixels_CS, [(0, 0), *pads], mode="reflect")).float()[None]
    x = normalise.apply(x, normalise.affine_for(spec, lambda _: None))
    torch.set_num_threads(2)
    with torch.inference_mode():
        logits = model(x)[0]
    start = margin if logits.shape[1] == inputs[0] else 0
    return logits[(slice(None), *(slice(start, start + n) for n in pixels_CS.shape[1:]))].numpy()


@pytest.mark.parametrize(
    ("keys", "shape", "block", "tile", "layers"),
    [
        ({"depth": 4, "in_channels": 3}, (1337, 2001), (384, 512), (192, 256), False),
        ({"depth": 4, "in_channels": 3, "padding": "same"}, (333, 401), (192, 256), (96, 128), True),
        ({"depth": 2, "dims": 3}, (30, 41, 50), (24, 32, 32), (12, 16, 32), True),
        ({"depth": 2, "dims": 3, "padding": "same"}, (23, 19, 30), (12, 16, 16), (12, 8, 16), False),
        ({"depth": 3, "up": "interpolated", "norm": "batch"}, (200, 111), (96, 96), (48, 96), True),
        ({"preset": "ternausnet-11", "in_channels": 1, "width": 2}, (70, 100), (64, 64), (64, 32), False),
    ],
    ids=["valid", "same", "valid-3d", "same-3d", "interpolated", "ternausnet"],
)
def test_equals_the_untiled_pass(tmp_path, keys, shape, block, tile, layers):
    path, model, spec = write_network(tmp_path / "net.safetensors", **keys)
    pixels = noise((spec.in_channels, *shape))
    image = write_image(tmp_path / "image.zarr", pixels, "c" + "zyx"[-spec.dims :], 256)
    out, whole = tmp_path / "out.zarr", Box.of_shape(shape)
    predict(image, out, path, PredictConfig(block=block, tile=tile, workers=0, probabilities=layers, **FIXED))

    logits = untiled_logits(model, spec, pixels)
    best_two = np.sort(logits, axis=0)[-2:]
    clear = best_two[1] - best_two[0] > 1e-4
    assert clear.mean() > 0.99
    labels = Masks.open(out).read(whole)[0]
    assert len(np.unique(labels)) > 1
    np.testing.assert_array_equal(labels[clear], logits.argmax(axis=0)[clear])
    if layers:
        kept = Masks.open(out).read(whole, layer="probabilities")
        expected = heads.probabilities(torch.from_numpy(logits)[None], "multiclass")[0].numpy()
        assert np.abs(kept / 254 - expected).max() < 0.5 / 254 + 1e-4
    assert compare_untiled(out, 2, image=image, model=path).untiled_max_abs_diff < 1e-5


def test_a_tile_off_the_pooling_grid_would_not_be_equal(tmp_path):
    """The reason for steps of 2^depth: the comparison above can fail."""
    _, model, spec = write_network(tmp_path / "net.safetensors", depth=3)
    pixels = noise((1, 180, 180))
    aligned, shifted = untiled_logits(model, spec, pixels), untiled_logits(model, spec, pixels[:, 1:, 1:])
    assert np.abs(aligned[:, 61:120, 61:120] - shifted[:, 60:119, 60:119]).max() > 1e-3


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("equal")
    network = write_network(folder / "net.safetensors", depth=2, width=8, in_channels=3)[0]
    image = write_image(folder / "image.zarr", noise((3, 333, 501)), "cyx", 100)
    config = PredictConfig(block=64, tile=32, probabilities=True, confidence=True, **FIXED)
    predict(image, folder / "serial.zarr", network, config.model_copy(update={"workers": 0}))
    return folder, image, network, config, shard_hashes(folder / "serial.zarr")


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_equal_bytes_for_any_number_of_workers(reference, workers):
    folder, image, network, config, hashes = reference
    out = folder / f"{workers}.zarr"
    predict(image, out, network, config.model_copy(update={"workers": workers}))
    assert len(hashes) > 100
    assert shard_hashes(out) == hashes


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_equal_bytes_on_a_running_cluster(reference, clusters, kind):
    folder, image, network, config, hashes = reference
    out = folder / f"{kind}.zarr"
    predict(image, out, network, config.model_copy(update={"scheduler": clusters(kind)}))
    assert shard_hashes(out) == hashes


@pytest.mark.parametrize(
    ("keys", "settings"),
    [
        ({"norm": "batch"}, {}),
        ({"norm": "batch", "padding": "same"}, {"probabilities": True, "confidence": True}),
        ({"head": "regression", "classes": ["height"]}, {"tta": True}),
        ({"head": "multilabel"}, {"merge": "blend", "precision": "auto"}),
        ({"norm": "instance"}, {"probabilities": True}),
    ],
    ids=["labels", "probabilities", "values", "blend", "instance"],
)
def test_equal_bytes_of_network_calls_at_once(tmp_path, monkeypatch, keys, settings):
    pytest.importorskip("openvino")
    network = write_network(tmp_path / "net.safetensors", depth=2, width=8, in_channels=3, **keys)[0]
    image = write_image(tmp_path / "image.zarr", noise((3, 333, 501)), "cyx", 100)
    given = {"block": 64, "tile": 64, "precision": "fp32", "backend": "openvino", "device": "cpu", **settings}
    config = PredictConfig(workers=0, **given)
    predict(image, tmp_path / "serial.zarr", network, config)
    monkeypatch.setattr(block, "_tools_of", Latest(block._Tools))
    with connect(ClusterConfig(processes=False, concurrency=3)) as client:
        there = {"scheduler": client.scheduler_info()["address"], "threads": 2, "packet_seconds": 0.1}
        predict(image, tmp_path / "dask.zarr", network, config.model_copy(update=there))
        (tools,) = block._tools_of.kept.values()
    one = keys.get("norm") == "instance" or len(os.sched_getaffinity(0)) == 1
    assert tools.pipeline.predictor.calls == (1 if one else 2)
    assert shard_hashes(tmp_path / "dask.zarr") == shard_hashes(tmp_path / "serial.zarr")


def test_equal_pixels_for_any_block(reference):
    folder, image, network, config, _ = reference
    predict(
        image, folder / "wide.zarr", network, config.model_copy(update={"workers": 0, "block": (96, 160)})
    )
    whole = Box.of_shape((333, 501))
    for layer in ("labels", "probabilities", "confidence"):
        np.testing.assert_array_equal(
            Masks.open(folder / "wide.zarr").read(whole, layer=layer),
            Masks.open(folder / "serial.zarr").read(whole, layer=layer),
        )
