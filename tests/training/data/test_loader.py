"""Loader: true neighbours, one sample for one place in the run, classes as often as asked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.data.labelled import coordinates, opened, spec_of, write_pair
from unet_batch.errors import InputError
from unet_batch.models.normalise import Affine
from unet_batch.training.augment.config import AugmentConfig, Rotation
from unet_batch.training.data.config import DataConfig, SamplingConfig
from unet_batch.training.data.loader import Loader
from unet_batch.training.data.sources import open_sources

STILL = AugmentConfig()


def sampling(**keys):
    return SamplingConfig.model_validate({"patch": 16, "threads": 0, **keys})


def start_of(where):
    """Where the box of a sample begins, out of its name."""
    return [int(part.split(":")[0]) for part in where.rsplit("[", 1)[1].rstrip("]").split(",")]


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    """A 2-D image of coordinates with three classes, the last on one pixel of 10 000."""
    folder = tmp_path_factory.mktemp("plane")
    image = coordinates((100, 100))
    labels = (np.arange(100) < 50).astype(np.uint8) * np.ones((100, 1), np.uint8)
    labels[70, 30] = 2
    return opened(write_pair(folder, image, labels, "yx")), image, labels


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A stack with two slices and a few strokes labelled."""
    folder = tmp_path_factory.mktemp("stack")
    image = coordinates((6, 40, 50))
    labels = np.full(image.shape, 255, np.uint8)
    labels[2, 10:30, 20:25] = 1
    labels[4, 5, 5:9] = 0
    return write_pair(folder, image, labels, "zyx"), image, labels


def test_patches_are_read_with_their_true_neighbours(plane):
    sources, image, labels = plane
    augment = AugmentConfig(rotation=Rotation())
    loader = Loader(sources, sampling(), augment, 8)
    most = (loader.patch.read[0] - loader.patch.output[0]) // 2
    wide = np.pad(image, most, mode="reflect")
    truth = np.pad(labels, most, mode="reflect")
    contexts = set()
    for batch in (next(loader) for _ in range(5)):
        for pixels, known, where in zip(batch.images, batch.labels, batch.where, strict=True):
            around = tuple((n - loader.patch.output[0]) // 2 for n in pixels.shape[1:])
            contexts |= set(around)
            here = tuple(
                slice(most + at - a, most + at - a + n)
                for at, a, n in zip(start_of(where), around, pixels.shape[1:], strict=True)
            )
            assert np.array_equal(pixels[0], wide[here])
            assert np.array_equal(known[0], truth[here])
    assert min(contexts) == 0, "samples that are not turned need no more"
    assert 0 < max(contexts) <= most


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 40), st.sampled_from([1, 2, 3, 6]), st.integers(0, 3))
def test_neither_world_size_nor_threads_nor_the_step_begun_at_show(plane, step, world, threads):
    sources = plane[0]
    settings_ = sampling(threads=threads)
    whole = Loader(sources, settings_.model_copy(update={"threads": 0}), STILL, 6, first_step=step)
    expected = next(whole)
    for rank in range(world):
        with Loader(sources, settings_, STILL, 6, rank, world, first_step=max(0, step - 2)) as loader:
            while loader.step < step:
                next(loader)
            batch = next(loader)
        mine = list(range(rank, 6, world))
        assert np.array_equal(batch.images, [expected.images[i] for i in mine])
        assert np.array_equal(batch.labels, [expected.labels[i] for i in mine])
        assert batch.seeds == tuple(expected.seeds[i] for i in mine)
        assert batch.where == tuple(expected.where[i] for i in mine)


def test_no_two_samples_share_a_seed(plane):
    with Loader(plane[0], sampling(), STILL, 16) as loader:
        seeds = [seed for _ in range(20) for seed in next(loader).seeds]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 0
    assert max(seeds) < 2**63


def test_another_seed_draws_other_samples(plane):
    one, other = (Loader(plane[0], sampling(seed=seed), STILL, 8) for seed in (0, 1))
    assert next(one).where != next(other).where


def test_a_class_of_a_ten_thousandth_is_seen_as_often_as_the_others(plane):
    loader = Loader(plane[0], sampling(balance=1), STILL, 100)
    seen = [(labels == 2).any() for _ in range(4) for labels in next(loader).labels]
    assert 0.25 < np.mean(seen) < 0.5


def test_without_balance_it_is_hardly_seen(plane):
    loader = Loader(plane[0], sampling(balance=0), STILL, 100)
    seen = [(labels == 2).any() for _ in range(4) for labels in next(loader).labels]
    assert np.mean(seen) < 0.1


def test_class_weights_decide_how_often(plane):
    weights = {"a": 0, "b": 0, "c": 1}
    loader = Loader(plane[0], sampling(balance=1, class_weights=weights), STILL, 20)
    assert all((labels == 2).any() for labels in next(loader).labels)


def test_repeats_decide_how_often_a_source_is_seen(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    ones = [np.ones((n, 32), np.uint8) for n in (32, 96)]
    sources = [write_pair(at, one, one, "yx") for at, one in zip((small, large), ones, strict=True)]
    for repeat, expected in ((1, 0.25), (9, 0.75)):
        config = DataConfig.model_validate({"sources": [{**sources[0], "repeat": repeat}, sources[1]]})
        with Loader(open_sources(config, spec_of()), sampling(), STILL, 400) as loader:
            seen = np.mean([str(small) in where for where in next(loader).where])
        assert seen == pytest.approx(expected, abs=0.08)


def test_a_rare_pixel_lies_anywhere_in_its_patches(plane):
    loader = Loader(plane[0], sampling(balance=1, class_weights={"a": 0, "b": 0}), STILL, 300)
    starts = np.array([start_of(where) for where in next(loader).where])
    assert (starts.max(axis=0) - starts.min(axis=0) == 15).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_sparse_labels_are_always_met(stack, dims):
    sources = opened(stack[0], spec_of(dims=dims))
    loader = Loader(sources, sampling(patch=4), STILL, 20)
    for batch in (next(loader) for _ in range(3)):
        assert np.shape(batch.images) == (20, 1, *(4,) * dims)
        assert all((labels != 255).any() for labels in batch.labels)
        if dims == 2:
            assert {start_of(where)[0] for where in batch.where} <= {2, 4}
    assert sources.counts == {"a": 4, "b": 100, "c": 0}


def test_labels_outside_a_training_box_are_hidden_and_pixels_are_not(stack):
    source, image, _ = stack
    sources = opened({**source, "train": [[[2, 3], [12, 20], [18, 40]]]})
    batch = next(Loader(sources, sampling(patch=24), STILL, 8))
    for pixels, labels, where in zip(batch.images, batch.labels, batch.where, strict=True):
        z, y, _ = start_of(where)
        assert z == 2
        rows = np.arange(y, y + 24)
        assert (labels[0, (rows < 12) | (rows >= 20)] == 255).all()
        inside = (rows >= 0) & (rows < 40)
        assert np.isin(pixels[0, inside], image[2]).all()
    assert sources.counts == {"a": 0, "b": 40, "c": 0}


def test_a_patch_larger_than_the_image_is_mirrored(tmp_path):
    labels = np.zeros((10, 12), np.uint8)
    labels[:, 6:] = 1
    sources = opened(write_pair(tmp_path, coordinates((10, 12)), labels, "yx"))
    batch = next(Loader(sources, sampling(patch=32), STILL, 4))
    assert np.shape(batch.images) == (4, 1, 32, 32)
    assert np.max(batch.labels) < 2


def test_multilabel_and_regression_batches(tmp_path):
    image = coordinates((40, 40))
    (tmp_path / "m").mkdir()
    (tmp_path / "r").mkdir()
    many = np.zeros((3, 40, 40), np.uint8)
    many[1, 5] = 1
    many[:, 20:] = 255
    source = write_pair(tmp_path / "m", image, many, "yx", "cyx", label_kind="multilabel")
    sources = opened(source, spec_of(head="multilabel"))
    assert sources.counts == {"a": 0, "b": 40, "c": 0}
    batch = next(Loader(sources, sampling(balance=1), STILL, 8))
    assert np.shape(batch.labels) == (8, 3, 16, 16)
    assert all((labels[1] == 1).any() for labels in batch.labels)
    target = np.full((1, 40, 40), np.nan, np.float32)
    target[0, 7, 7] = 0.5
    source = write_pair(tmp_path / "r", image, target, "yx", "cyx", label_kind="regression")
    batch = next(Loader(opened(source, spec_of(["out"], head="regression")), sampling(), STILL, 1))
    assert batch.labels[0].dtype == np.float32
    assert np.nansum(batch.labels[0]) == 0.5


def test_weights_come_along(tmp_path):
    from tests.worlds import write_image

    image = coordinates((40, 40))
    source = write_pair(tmp_path, image, np.zeros((40, 40), np.uint8), "yx")
    write_image(tmp_path / "weights.zarr", image, "yx", chunk=32)
    batch = next(Loader(opened({**source, "weights": str(tmp_path / "weights.zarr")}), sampling(), STILL, 4))
    assert np.array_equal(np.stack(batch.weights), np.stack(batch.images)[:, 0])


def test_a_sample_brings_the_normalisation_of_its_image(tmp_path):
    image = np.arange(1600, dtype=np.uint16).reshape(40, 40)
    source = write_pair(tmp_path, image, np.zeros((40, 40), np.uint8), "yx")
    spec = spec_of(normalisation={"percentiles": [0, 100]})
    batch = next(Loader(opened(source, spec), sampling(), STILL, 2))
    assert batch.affines == (Affine((0.0,), (1 / 1599,)),) * 2


def test_pixels_without_data_are_unlabelled(tmp_path):
    from unet_batch.store.arrays import create_array
    from unet_batch.store.layout import ArrayLayout
    from unet_batch.tiling import Box

    image = coordinates((16, 16)) + 1
    image[:3] = 0
    source = write_pair(tmp_path, image, np.zeros((16, 16), np.uint8), "yx")
    array = create_array(tmp_path / "holes.zarr", ArrayLayout((16, 16), "float32", (16, 16), (16, 16)))
    array.write_shard(Box.of_shape((16, 16)), image)
    array.zarray.attrs["nodata"] = 0
    batch = next(Loader(opened({**source, "image": str(tmp_path / "holes.zarr")}), sampling(), STILL, 1))
    assert np.array_equal(batch.labels[0][0] == 255, batch.images[0][0] == 0)


def test_waiting_is_counted(plane):
    with Loader(plane[0], sampling(), STILL, 4) as loader:
        assert loader.waited == 0
        next(loader)
        assert loader.waited > 0


def test_errors_of_readers_reach_the_loop(tmp_path):
    source = write_pair(tmp_path, coordinates((64, 64)), np.zeros((64, 64), np.uint8), "yx")
    sources = opened(source)
    for file in (tmp_path / "image.zarr" / "c").rglob("*"):
        if file.is_file():
            file.write_bytes(b"damage")
    with Loader(sources, sampling(threads=2), STILL, 4) as loader, pytest.raises(ValueError, match="damaged"):
        next(loader)


@pytest.mark.parametrize(
    ("batch", "world", "keys", "message"),
    [
        (5, 2, {}, "a batch of 5 cannot be shared evenly by 2 ranks"),
        (200, 1, {}, "104 labelled pixels, fewer samples than a batch of 200"),
        (4, 1, {"patch": [8, 8, 8]}, "3 numbers, the network 2 axes"),
        (4, 1, {"class_weights": {"d": 1}}, "no class 'd'; the classes are a, b, c"),
    ],
)
def test_what_does_not_fit_is_told(stack, batch, world, keys, message):
    sources = opened(stack[0])
    with pytest.raises(InputError, match=message):
        Loader(sources, sampling(**keys), STILL, batch, 0, world)
