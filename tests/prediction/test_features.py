"""What settings do to the result, each against a plain computation of the same thing."""

import itertools
import shutil

import numpy as np
import pytest
import torch

from tests.worlds import noise, write_image, write_network
from unet_batch.errors import InputError
from unet_batch.models import heads, normalise
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.prediction.status import status
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

FIXED = {"workers": 0, "precision": "fp32", "backend": "eager", "device": "cpu", "block": 32, "tile": 32}
SHAPE = (70, 90)
WHOLE = Box.of_shape(SHAPE)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("net") / "net.safetensors", depth=2)


@pytest.fixture
def image(tmp_path):
    return write_image(tmp_path / "image.zarr", noise(SHAPE), "yx")


def run(image, out, model, **settings):
    predict(image, out, model, PredictConfig(**{**FIXED, **settings}))
    return Masks.open(out)


def reference(model, spec, pixels_CS):
    """Probabilities of one untiled pass."""
    margin, multiple = spec.receptive_field().margin, spec.receptive_field().multiple
    inputs = [spec.input_size(-(-n // multiple) * multiple) for n in pixels_CS.shape[1:]]
    pads = [(margin, size - n - margin) for size, n in zip(inputs, pixels_CS.shape[1:], strict=True)]
    x = torch.from_numpy(np.pad(pixels_CS, [(0, 0), *pads], mode="reflect")).float()[None]
    torch.set_num_threads(2)
    with torch.inference_mode():
        logits = model(normalise.apply(x, normalise.affine_for(spec, lambda _: None)))
        logits = logits[(..., *(slice(0, n) for n in pixels_CS.shape[1:]))]
        return heads.probabilities(logits, spec.head)[0].numpy()


def test_nodata_values_are_never_classified_and_empty_blocks_are_skipped(tmp_path, network):
    pixels = noise(SHAPE) + 1
    pixels[:32, :32] = 0  # one whole block
    pixels[40, 50:60] = 0
    image = write_image(tmp_path / "image.zarr", pixels, "yx")
    masks = run(image, tmp_path / "out.zarr", network[0], nodata=0)
    np.testing.assert_array_equal(masks.read(WHOLE)[0] == 255, pixels == 0)
    found = status(tmp_path / "out.zarr")
    assert found.blocks["skipped"] == 1
    assert sum(found.class_pixels.values()) == np.count_nonzero(pixels)


def test_nan_without_data_does_not_spread(tmp_path, network):
    pixels = noise(SHAPE).astype("float32")
    pixels[10:13, 20:25] = np.nan
    image = write_image(tmp_path / "image.zarr", pixels, "yx", fill=float("nan"))
    masks = run(image, tmp_path / "out.zarr", network[0], nodata=float("nan"), probabilities=True)
    np.testing.assert_array_equal(masks.read(WHOLE)[0] == 255, np.isnan(pixels))
    np.testing.assert_array_equal(masks.read(WHOLE, layer="probabilities")[0] == 255, np.isnan(pixels))


def test_a_nodata_mask(tmp_path, network, image):
    valid = np.ones(SHAPE, "uint8")
    valid[5:9, 30:80] = 0
    mask = write_image(tmp_path / "mask.zarr", valid, "yx")
    masks = run(image, tmp_path / "out.zarr", network[0], nodata={"mask": str(mask)})
    np.testing.assert_array_equal(masks.read(WHOLE)[0] == 255, valid == 0)


def test_a_nodata_mask_of_another_shape_is_refused(tmp_path, network, image):
    mask = write_image(tmp_path / "mask.zarr", np.ones((9, 9), "uint8"), "yx")
    with pytest.raises(InputError, match="give a mask that fits"):
        run(image, tmp_path / "out.zarr", network[0], nodata={"mask": str(mask)})


@pytest.mark.parametrize(
    ("method", "threshold", "foreground"),
    [("saturation", 0.2, (200, 40, 200)), ("variance", 100.0, None)],
)
def test_background_blocks_are_skipped(tmp_path, method, threshold, foreground):
    pixels = np.full((3, 128, 128), 240, "uint8")
    patch = noise((3, 20, 20)) if foreground is None else np.array(foreground, "uint8")[:, None, None]
    pixels[:, 70:90, 70:90] = patch
    image = write_image(tmp_path / "image.zarr", pixels, "cyx")
    model = write_network(tmp_path / "net.safetensors", depth=1, in_channels=3)[0]
    skip = {"method": method, "threshold": threshold, "pixels": 4}
    masks = run(image, tmp_path / "out.zarr", model, skip_background=skip)
    found = status(tmp_path / "out.zarr")
    assert found.blocks["done"] == 1
    assert found.blocks["skipped"] == 15
    labels = masks.read(Box.of_shape((128, 128)))[0]
    assert (labels[64:96, 64:96] != 255).all()
    assert (labels == 255).sum() == 128 * 128 - 32 * 32


def test_roi_limits_blocks_and_pixels(tmp_path, network, image):
    whole = run(image, tmp_path / "whole.zarr", network[0]).read(WHOLE)[0]
    masks = run(image, tmp_path / "out.zarr", network[0], roi=((10, 40), (50, 90)))
    expected = np.full(SHAPE, 255, "uint8")
    expected[10:40, 50:90] = whole[10:40, 50:90]
    np.testing.assert_array_equal(masks.read(WHOLE)[0], expected)
    assert status(tmp_path / "out.zarr").state == "done"


@pytest.mark.parametrize("roi", [((0, 71), (0, 9)), ((0, 9),)])
def test_roi_outside_the_image_is_refused(tmp_path, network, image, roi):
    with pytest.raises(InputError, match="roi"):
        run(image, tmp_path / "out.zarr", network[0], roi=roi)
    assert not (tmp_path / "out.zarr").exists()


def test_channels_are_chosen_and_ordered(tmp_path):
    path, model, spec = write_network(tmp_path / "net.safetensors", depth=1, in_channels=2)
    pixels = noise((4, *SHAPE))
    image = write_image(tmp_path / "image.zarr", pixels, "cyx")
    masks = run(image, tmp_path / "out.zarr", path, channels=(3, 1))
    expected = reference(model, spec, pixels[[3, 1]]).argmax(axis=0)
    assert (masks.read(WHOLE)[0] == expected).mean() > 0.999
    with pytest.raises(InputError, match=r"4 of its 4 channels.*takes 2"):
        run(image, tmp_path / "all.zarr", path)
    with pytest.raises(InputError, match="no channel 7"):
        run(image, tmp_path / "none.zarr", path, channels=(7, 0))


def test_confidence_is_the_winners_probability(tmp_path, network, image):
    masks = run(image, tmp_path / "out.zarr", network[0], probabilities=True, confidence=True)
    probabilities = masks.read(WHOLE, layer="probabilities")
    confidence = masks.read(WHOLE, layer="confidence")[0]
    np.testing.assert_array_equal(confidence, probabilities.max(axis=0))
    np.testing.assert_array_equal(
        np.take_along_axis(probabilities, masks.read(WHOLE).astype(int), axis=0)[0], confidence
    )


@pytest.mark.parametrize("tta", [True, "turns"])
def test_views_are_averaged(tmp_path, network, tta):
    """The mean over views of the whole image; its sizes are such that they keep the pooling phase."""
    path, model, spec = network
    pixels = noise((1, 64, 96), seed=3)
    whole = write_image(tmp_path / "aligned.zarr", pixels, "cyx")
    box = Box.of_shape((64, 96))
    masks = run(whole, tmp_path / "out.zarr", path, tta=tta, probabilities=True)
    answers = []
    for turns, axes in itertools.product((0, 1) if tta == "turns" else (0,), ((), (1,), (2,), (1, 2))):
        seen = np.flip(np.rot90(pixels, turns, (1, 2)), axes).copy()
        answers.append(np.rot90(np.flip(reference(model, spec, seen), axes), -turns, (1, 2)))
    kept = masks.read(box, layer="probabilities") / 254
    assert np.abs(kept - np.mean(answers, axis=0)).max() < 0.5 / 254 + 1e-4


def test_an_ensemble_is_averaged(tmp_path, network, image):
    other = write_network(tmp_path / "other.safetensors", seed=5, depth=2)
    masks = run(image, tmp_path / "out.zarr", [network[0], other[0]], probabilities=True)
    answers = [reference(model, spec, noise((1, *SHAPE))) for _, model, spec in (network, other)]
    kept = masks.read(WHOLE, layer="probabilities") / 254
    assert np.abs(kept - np.mean(answers, axis=0)).max() < 0.5 / 254 + 1e-4
    labels_only = run(image, tmp_path / "labels.zarr", [network[0], other[0]])
    np.testing.assert_array_equal(labels_only.read(WHOLE), masks.read(WHOLE))


def test_networks_of_another_kind_are_no_ensemble(tmp_path, network, image):
    other = write_network(tmp_path / "other.safetensors", depth=1)[0]
    with pytest.raises(InputError, match="another margin"):
        run(image, tmp_path / "out.zarr", [network[0], other])


@pytest.mark.parametrize("probabilities", [False, True])
def test_multilabel(tmp_path, image, probabilities):
    path, model, spec = write_network(tmp_path / "net.safetensors", depth=2, head="multilabel")
    masks = run(image, tmp_path / "out.zarr", path, probabilities=probabilities)
    expected = reference(model, spec, noise((1, *SHAPE)))
    clear = np.abs(expected - 0.5) > 1e-4
    np.testing.assert_array_equal(masks.read(WHOLE)[clear], (expected > 0.5)[clear])
    counts = list(status(tmp_path / "out.zarr").class_pixels.values())
    assert counts == [int(c.sum()) for c in masks.read(WHOLE) == 1]


def test_regression(tmp_path, image):
    path, model, spec = write_network(tmp_path / "net.safetensors", depth=2, head="regression")
    masks = run(image, tmp_path / "out.zarr", path, roi=((0, 70), (0, 50)))
    expected = reference(model, spec, noise((1, *SHAPE)))
    np.testing.assert_allclose(masks.read(WHOLE)[..., :50], expected[..., :50], atol=1e-4)
    assert np.isnan(masks.read(WHOLE)[..., 50:]).all()


def test_more_classes_than_a_byte_holds(tmp_path, image):
    names = [f"class {i}" for i in range(300)]
    path, model, spec = write_network(tmp_path / "net.safetensors", depth=1, classes=names)
    masks = run(image, tmp_path / "out.zarr", path)
    assert masks.layout.dtype == "uint16"
    expected = reference(model, spec, noise((1, *SHAPE)))
    best = np.sort(expected, axis=0)
    clear = best[-1] - best[-2] > 1e-6
    np.testing.assert_array_equal(masks.read(WHOLE)[0][clear], expected.argmax(axis=0)[clear])


def test_a_flat_network_sees_a_stack_plane_by_plane(tmp_path, network):
    stack = noise((2, 3, *SHAPE))
    image = write_image(tmp_path / "stack.zarr", stack, "tzyx")
    masks = run(image, tmp_path / "out.zarr", network[0])
    for t, z in ((0, 0), (1, 2)):
        plane = write_image(tmp_path / f"{t}{z}.zarr", stack[t, z], "yx")
        alone = run(plane, tmp_path / f"out{t}{z}.zarr", network[0]).read(WHOLE)[0]
        box = Box((t, z, 0, 0), (t + 1, z + 1, *SHAPE))
        np.testing.assert_array_equal(masks.read(box)[0, 0, 0], alone)


def test_a_deep_network_refuses_a_flat_image(tmp_path, image):
    path = write_network(tmp_path / "net.safetensors", depth=1, dims=3)[0]
    with pytest.raises(InputError, match="give an image with a z axis or a 2-D network"):
        run(image, tmp_path / "out.zarr", path)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (5, 3), (33, 1)])
def test_images_smaller_than_a_tile_or_a_margin(tmp_path, network, shape):
    pixels = noise((1, *shape))
    image = write_image(tmp_path / "image.zarr", pixels, "cyx")
    found = predict(image, tmp_path / "out.zarr", network[0], PredictConfig(workers=0))
    assert found.pixels == pixels.size


def test_percentiles_are_taken_from_the_image_not_the_tile(tmp_path):
    keys = {"depth": 1, "normalisation": {"percentiles": [1, 99]}}
    path = write_network(tmp_path / "net.safetensors", **keys)[0]
    pixels = np.sort(noise(SHAPE).ravel()).reshape(SHAPE)  # every tile has another range
    image = write_image(tmp_path / "image.zarr", pixels, "yx")
    run(image, tmp_path / "a.zarr", path, block=32, tile=16)
    run(image, tmp_path / "b.zarr", path, block=64, tile=64)
    np.testing.assert_array_equal(
        Masks.open(tmp_path / "a.zarr").read(WHOLE), Masks.open(tmp_path / "b.zarr").read(WHOLE)
    )


def test_networks_with_tile_statistics_are_blended_and_said_to_be(tmp_path, image):
    path = write_network(tmp_path / "net.safetensors", depth=2, norm="instance")[0]
    masks = run(image, tmp_path / "out.zarr", path)
    assert not status(tmp_path / "out.zarr").exact
    assert masks.attributes["plan"]["compute"]["merge"] == "blend"


def test_memory_that_ends_halves_the_batch(tmp_path, network, image, monkeypatch):
    from unet_batch.models.device import TorchNetwork

    plain = run(image, tmp_path / "plain.zarr", network[0], block=64, tile=16, batch=1).read(WHOLE)
    call, sizes = TorchNetwork.__call__, []

    def small(self, x):
        sizes.append(len(x))
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(self, x)

    monkeypatch.setattr(TorchNetwork, "__call__", small)
    masks = run(image, tmp_path / "out.zarr", network[0], block=64, tile=16, batch=8)
    np.testing.assert_array_equal(masks.read(WHOLE), plain)
    assert max(sizes) > 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's, of itself
@pytest.mark.parametrize("backend", ["openvino", "compile"])
def test_other_backends_agree(tmp_path, image, backend):
    if backend == "openvino":
        pytest.importorskip("openvino")
    elif shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    path = write_network(tmp_path / "net.safetensors", depth=2)[0]
    plain = run(image, tmp_path / "plain.zarr", path, probabilities=True)
    other = run(image, tmp_path / "other.zarr", path, probabilities=True, backend=backend, batch=4)
    kept = [m.read(WHOLE, layer="probabilities").astype(int) for m in (plain, other)]
    assert np.abs(kept[0] - kept[1]).max() <= 1


def test_bf16_agrees_nearly_everywhere(tmp_path, network, image):
    plain = run(image, tmp_path / "plain.zarr", network[0]).read(WHOLE)
    half = run(image, tmp_path / "half.zarr", network[0], precision="bf16").read(WHOLE)
    assert (plain == half).mean() > 0.97
