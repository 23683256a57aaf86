"""Augmentation: geometry is exact, labels follow the image, and only a sample's own seed decides."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_batch.errors import InputError
from unet_batch.models.spec import ModelSpec
from unet_batch.training.augment.augment import Augment
from unet_batch.training.augment.config import AugmentConfig
from unet_batch.training.augment.parameters import draw_parameters
from unet_batch.training.augment.warp import context_of
from unet_batch.training.batch import Batch
from unet_batch.training.patch import Patch

ALL = {
    "flip": {},
    "turn": {},
    "rotation": {"probability": 0.6},
    "scale": {"probability": 0.6},
    "shear": {"probability": 0.6},
    "stretch": {"probability": 0.6},
    "elastic": {"probability": 0.6, "std": 3},
    "gamma": {},
    "brightness": {},
    "contrast": {},
    "channel_shift": {},
    "noise": {"probability": 0.5},
    "blur": {"probability": 0.5},
    "cutout": {},
}


def spec_of(dims=2, channels=1, **keys):
    basis = {"dims": dims, "in_channels": channels, "classes": ["a", "b", "c"], "width": 2, "depth": 1}
    return ModelSpec.model_validate({**basis, "normalisation": {"mean": [0], "std": [1]}, **keys})


def batch_of(images, labels, seeds=None, weights=None):
    seeds = tuple(range(len(images))) if seeds is None else tuple(seeds)
    return Batch(images, labels, weights, seeds, tuple(f"i[{s}]" for s in seeds))


def noise(shape, high=250, seed=0):
    return np.random.default_rng(seed).integers(0, high, shape).astype(np.uint8)


def made(config, spec, size, count=6, seeds=None, labels=None):
    """A patch, random pixels for it and what augmentation makes of them."""
    patch = Patch.of(spec, (size,), AugmentConfig.model_validate(config))
    images = noise((count, spec.in_channels, *patch.read))
    labels = images[:, :1] % 3 if labels is None else labels(images)
    augment = Augment(AugmentConfig.model_validate(config), spec, patch.input)
    return patch, images, augment(batch_of(images, labels, seeds), "cpu")


def centre(pixels, size):
    return pixels[
        (
            ...,
            *(
                slice((n - s) // 2, (n + s) // 2)
                for n, s in zip(pixels.shape[-len(size) :], size, strict=True)
            ),
        )
    ]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_without_augmentation_the_centre_comes_out_as_it_is(dims, padding):
    patch, images, sample = made({}, spec_of(dims, padding=padding), 8)
    assert patch.read == patch.input
    assert np.array_equal(sample.images.numpy(), images.astype(np.float32))
    assert np.array_equal(sample.labels.numpy(), centre(images[:, 0] % 3, patch.output))
    assert sample.labels.dtype == torch.int64
    assert sample.weights is None


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("isotropic", [False, True])
def test_flips_and_turns_by_grid_and_by_moving_pixels_agree(dims, isotropic):
    still = {"flip": {}, "turn": {}, "isotropic": isotropic}
    # A rotation of nothing sends the sample through the sampling grid.
    grid = {**still, "rotation": {"probability": 1, "range": [0, 0]}}
    spec = spec_of(dims, padding="same")
    _, _, moved = made(still, spec, 10, count=24)
    _, _, sampled = made(grid, spec, 10, count=24)
    assert np.allclose(moved.images, sampled.images, atol=0.02)
    assert np.array_equal(moved.labels, sampled.labels)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**63 - 1), st.sampled_from([2, 3]), st.booleans())
def test_what_is_drawn_fits_the_context(seed, dims, isotropic):
    config = AugmentConfig.model_validate(
        {
            "rotation": {"probability": 0.8, "range": [-40, 25]},
            "scale": {"probability": 0.8, "range": [0.7, 1.4]},
            "shear": {"probability": 0.8},
            "stretch": {"probability": 0.8, "range": [0.5, 2.0]},
            "isotropic": isotropic,
        }
    )
    size = (12, 20, 32)[-dims:]
    drawn = draw_parameters(config, seed, size, 1)
    if drawn.matrix is not None:
        corners = np.stack(np.meshgrid(*([-n / 2, n / 2] for n in size), indexing="ij")).reshape(dims, -1)
        reach = np.abs(drawn.matrix @ corners).max(axis=1)
        assert (reach <= np.array(size) / 2 + np.array(config.context(size)) + 1e-9).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**63 - 1), st.sampled_from([2, 3]), st.booleans())
def test_labels_follow_the_image(seed, dims, isotropic):
    """Of an image of coordinates and labels of the same, every warp gives the same twice."""
    geometry = {
        name: ALL[name] for name in ("flip", "turn", "rotation", "scale", "shear", "stretch", "elastic")
    }
    config = {**geometry, "isotropic": isotropic}

    def coordinates(images):
        ramp = np.arange(images.shape[-1], dtype=np.uint8)
        images[:] = ramp + 2 * ramp[:, None]
        return images[:, :1] if images.dtype == np.uint8 else None

    spec = spec_of(dims, padding="valid", classes=[f"c{i}" for i in range(250)])
    patch, _, sample = made(config, spec, 12, count=2, seeds=[seed, seed // 2], labels=coordinates)
    seen = centre(sample.images[:, 0].numpy(), patch.output)
    # The nearest pixel lies at most half a pixel off on each of two axes of slopes 1 and 2.
    assert np.abs(seen - sample.labels.numpy()).max() <= 1.5 + 0.01


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**63 - 1), st.sampled_from([2, 3]), st.booleans(), st.sampled_from([0, 2, 6]))
def test_what_a_warp_looks_at_is_read(seed, dims, isotropic, std):
    """Pixels past its reach change nothing, but for what falls to the rounding of coordinates."""
    geometry = {name: ALL[name] for name in ("flip", "turn", "rotation", "scale", "shear")}
    elastic = {"elastic": {"probability": 0.6, "std": std}} if std else {}
    config = AugmentConfig.model_validate({**geometry, **elastic, "isotropic": isotropic})
    spec, size = spec_of(dims, padding="same"), (20, 24, 32)[-dims:]
    context = context_of(draw_parameters(config, seed, size, 1), size)
    wide = tuple(n + 2 * c + 12 for n, c in zip(size, context, strict=True))
    smooth = np.cos(np.indices(wide).sum(axis=0) / 5).astype(np.float32)[None]
    tight = centre(smooth, tuple(n - 12 for n in wide))
    empty = smooth.copy()
    centre(empty, tight.shape[1:])[:] = 0
    augment = Augment(config, spec, size)
    labels = np.zeros((2, 1, *wide), np.uint8)
    whole, past = augment(batch_of([smooth, empty], labels, [seed, seed]), "cpu").images
    (found,) = augment(batch_of([tight], [centre(labels[0], tight.shape[1:])], [seed]), "cpu").images
    assert torch.allclose(found, whole, atol=1e-3)
    assert past.abs().max() < 2e-3


def test_a_sample_depends_on_its_own_seed_alone():
    spec = spec_of(channels=3)
    patch, images, together = made(ALL, spec, 16, count=6)
    augment = Augment(AugmentConfig.model_validate(ALL), spec, patch.input)
    order = [4, 0, 5]
    apart = augment(batch_of(images[order], images[order][:, :1] % 3, order), "cpu")
    assert torch.allclose(apart.images, together.images[order], atol=1e-4)
    assert torch.equal(apart.labels, together.labels[order])
    again = augment(batch_of(images, images[:, :1] % 3), "cpu")
    assert torch.equal(again.images, together.images)


def test_one_kind_leaves_what_others_draw_alone():
    few = AugmentConfig.model_validate({"rotation": {}, "noise": {}})
    many = AugmentConfig.model_validate({**ALL, "rotation": {}, "noise": {}})
    for seed in range(20):
        one, other = draw_parameters(few, seed, (8, 8), 1), draw_parameters(many, seed, (8, 8), 1)
        assert one.noise == other.noise


def test_weights_go_with_the_labels():
    spec = spec_of(padding="same")
    labels = noise((4, 1, 40, 40), 3)
    config = AugmentConfig.model_validate({"flip": {}, "elastic": {"probability": 1, "std": 2}})
    augment = Augment(config, spec, (16, 16))
    sample = augment(batch_of(labels, labels, weights=labels[:, 0].astype(np.float32)), "cpu")
    assert sample.weights.dtype == torch.float32
    assert np.array_equal(sample.weights.numpy(), sample.labels.numpy())


def test_unlabelled_targets_stay_unlabelled_and_no_others_become_so():
    spec = spec_of(padding="same", head="regression", classes=["r"])
    labels = np.random.default_rng(0).random((4, 1, 40, 40)).astype(np.float32)
    labels[:, :, 20:] = np.nan
    images = noise((4, 1, 40, 40))
    config = AugmentConfig.model_validate({"rotation": {"probability": 1, "range": [3, 9]}})
    found = Augment(config, spec, (16, 16))(batch_of(images, labels), "cpu").labels
    share = found.isnan().float().mean().item()
    assert 0.3 < share < 0.7
    assert found[~found.isnan()].max() <= 1


def test_multilabel_channels_keep_their_values():
    spec = spec_of(padding="same", head="multilabel")
    labels = noise((2, 3, 30, 30), 2)
    labels[:, 1, :9] = 255
    config = AugmentConfig.model_validate({"rotation": {"probability": 1}})
    found = Augment(config, spec, (16, 16))(batch_of(noise((2, 1, 30, 30)), labels), "cpu").labels
    assert found.shape == (2, 3, 16, 16)
    assert set(found.unique().tolist()) <= {0, 1, 255}


def test_images_are_normalised_as_prediction_does():
    spec = spec_of(padding="same", normalisation={"mean": [100], "std": [50]})
    images = noise((2, 1, 16, 16))
    found = Augment(AugmentConfig(), spec, (16, 16))(batch_of(images, images % 3), "cpu").images
    assert np.allclose(found, (images - 100.0) / 50, atol=1e-5)


def test_pixels_without_data_become_the_mean():
    spec = spec_of(padding="same", normalisation={"mean": [5], "std": [2]})
    images = np.full((1, 1, 8, 8), 7, np.float32)
    images[0, 0, 0, 0] = np.nan
    found = Augment(AugmentConfig(), spec, (8, 8))(
        batch_of(images, np.zeros((1, 1, 8, 8), np.uint8)), "cpu"
    ).images
    assert found[0, 0, 0, 0] == 0
    assert (found[0, 0, 1:] == 1).all()


@pytest.mark.parametrize(
    "kind", ["gamma", "brightness", "contrast", "channel_shift", "noise", "blur", "cutout"]
)
def test_each_kind_changes_pixels_and_no_labels(kind):
    spec = spec_of(channels=2, padding="same")
    _, images, sample = made({kind: {"probability": 1}}, spec, 16, count=3)
    assert sample.images.isfinite().all()
    for found, given_ in zip(sample.images.numpy(), images, strict=True):
        assert not np.allclose(found, given_, atol=1e-3)
    assert np.array_equal(sample.labels.numpy(), images[:, 0] % 3)


def test_blur_keeps_the_mean_of_a_constant_and_shrinks_noise():
    spec = spec_of(padding="same")
    _, images, sample = made({"blur": {"probability": 1, "range": [2, 2]}}, spec, 32, count=2)
    assert sample.images.std() < 0.4 * images.std()
    assert sample.images.mean() == pytest.approx(images.mean(), rel=0.05)


def test_gamma_and_contrast_do_what_they_say():
    spec = spec_of(padding="same")
    _, images, dark = made({"gamma": {"probability": 1, "range": [2, 2]}}, spec, 16, count=1)
    low, high = images.min(), images.max()
    expected = ((images - float(low)) / (high - low)) ** 2 * (high - low) + low
    assert np.allclose(dark.images, expected, atol=0.01)
    _, images, flat = made({"contrast": {"probability": 1, "range": [0.5, 0.5]}}, spec, 16, count=1)
    assert np.allclose(flat.images, images.mean() + 0.5 * (images - images.mean()), atol=0.01)


def test_a_stretch_magnifies_along_one_direction():
    config = AugmentConfig.model_validate({"stretch": {"probability": 1, "range": [0.5, 0.5]}})
    for seed in range(5):
        matrix = draw_parameters(config, seed, (8, 8), 1).matrix
        values = np.linalg.eigvalsh(matrix)
        assert np.allclose(values, [1, 2])  # what lies twice as far away comes in
        assert np.allclose(matrix, matrix.T)
    others = [draw_parameters(config, seed, (8, 8), 1).matrix for seed in range(5)]
    assert not np.allclose(others[0], others[1])


def test_stain_jitter_moves_colour_and_stays_in_range():
    spec = spec_of(channels=3, padding="same")
    _, images, same = made({"stain": {"probability": 1, "range": [0, 0]}}, spec, 16, count=2)
    assert np.allclose(same.images, images, atol=0.01)
    _, images, moved = made({"stain": {"probability": 1, "range": [-0.1, 0.1]}}, spec, 16, count=2)
    assert not np.allclose(moved.images, images, atol=1)
    assert moved.images.min() >= 0
    assert moved.images.max() <= 255


def test_stain_jitter_is_for_8_bit_rgb():
    config = AugmentConfig.model_validate({"stain": {}})
    with pytest.raises(InputError, match="needs 3 channels"):
        Augment(config, spec_of(), (8, 8))
    images = np.zeros((1, 3, 8, 8), np.uint16)
    with pytest.raises(InputError, match="8-bit"):
        Augment(config, spec_of(channels=3, padding="same"), (8, 8))(batch_of(images, images[:, :1]), "cpu")


def test_chunks_that_are_not_to_be_written_are_read_without_a_word():
    images = noise((1, 1, 8, 8))
    images.flags.writeable = False
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = Augment(AugmentConfig(), spec_of(padding="same"), (8, 8))(batch_of(images, images), "cpu")
    finally:
        torch.set_warn_always(before)
    assert np.array_equal(found.images, images)


def test_quarter_turns_need_axes_of_one_length():
    config = AugmentConfig.model_validate({"turn": {}})
    assert {draw_parameters(config, seed, (8, 12), 1).turns[0] for seed in range(40)} == {0, 2}
    assert {draw_parameters(config, seed, (8, 8), 1).turns[0] for seed in range(40)} == {0, 1, 2, 3}


def test_elastic_displacements_are_those_of_the_paper():
    config = AugmentConfig.model_validate({"elastic": {"probability": 1}})
    drawn = torch.stack([draw_parameters(config, seed, (64, 64), 1).displacement for seed in range(400)])
    assert drawn.shape[1:] == (2, 3, 3)
    assert drawn.std().item() == pytest.approx(10, rel=0.05)
