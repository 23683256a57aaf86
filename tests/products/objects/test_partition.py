"""Objects by blocks are those of the whole: same partition, same numbers, same table, for any block size."""

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure

from tests.products.worlds import NAMES, blobs, write_masks
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.products.objects.run import objects
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box


def found(folder, labels, axes="yx", names=NAMES, **settings_):
    """Object numbers of every pixel and the table."""
    path = write_masks(folder / "masks", labels, axes, names, block=64, levels=1)
    config = ObjectsConfig(workers=0, **settings_)
    done = objects(path, folder / "objects.parquet", config, labels=folder / "objects")
    assert done.finished
    numbers = Masks.open(folder / "objects").read(Box.of_shape(labels.shape))[0]
    return numbers, pq.read_table(folder / "objects.parquet").to_pandas(), done


def expected(labels, connectivity, classes=(1, 2)):
    """What scipy finds of each class on the whole, numbered by first pixels."""
    structure = ndimage.generate_binary_structure(labels.ndim, connectivity)
    parts = np.zeros(labels.shape, np.int64)
    for one in classes:
        numbers, _ = ndimage.label(labels == one, structure)
        parts = np.where(numbers > 0, numbers + parts.max(), parts)
    _, first = np.unique(parts, return_index=True)
    order = np.argsort(first[1:] if (parts == 0).any() else first)
    new = np.zeros(parts.max() + 1, np.int64)
    new[order + 1] = np.arange(1, len(order) + 1)
    return new[parts]


shapes_2d = st.tuples(st.integers(1, 50), st.integers(1, 50))
shapes_3d = st.tuples(st.integers(1, 12), st.integers(1, 16), st.integers(1, 16))


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_in_two_dimensions(tmp_path_factory, data):
    shape, seed = data.draw(shapes_2d), data.draw(st.integers(0, 999))
    noisy = data.draw(st.booleans())
    labels = np.random.default_rng(seed).integers(0, 3, shape).astype("u1") if noisy else blobs(shape, seed)
    block = data.draw(st.tuples(st.integers(7, 50), st.integers(7, 50)))
    connectivity = data.draw(st.sampled_from([1, 2]))
    folder = tmp_path_factory.mktemp("two")
    numbers, table, done = found(folder, labels, block=block, connectivity=connectivity)
    np.testing.assert_array_equal(numbers, expected(labels, connectivity))
    assert len(table) == numbers.max() == sum(done.objects.values())
    check_table(table, numbers, labels)


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_in_three_dimensions(tmp_path_factory, data):
    shape, seed = data.draw(shapes_3d), data.draw(st.integers(0, 999))
    labels = blobs(shape, seed)
    block = data.draw(st.tuples(st.integers(4, 9), st.integers(5, 12), st.integers(5, 12)))
    connectivity = data.draw(st.sampled_from([1, 2, 3]))
    folder = tmp_path_factory.mktemp("three")
    numbers, table, _ = found(folder, labels, "zyx", block=block, connectivity=connectivity)
    np.testing.assert_array_equal(numbers, expected(labels, connectivity))
    check_table(table, numbers, labels)


def check_table(table, numbers, labels):
    """Against skimage's regionprops of the whole."""
    axes = "zyx"[-labels.ndim :]
    regions = measure.regionprops(numbers)
    assert list(table["id"]) == [region.label for region in regions]
    assert list(table["class"]) == [NAMES[labels[tuple(region.coords[0])]] for region in regions]
    assert list(table["pixels"]) == [region.area for region in regions]
    centroids = np.array([region.centroid for region in regions]).reshape(-1, labels.ndim)
    np.testing.assert_allclose(table[[f"centroid_{a}" for a in axes]], centroids)
    boxes = np.array([region.bbox for region in regions]).reshape(-1, 2 * labels.ndim)
    np.testing.assert_array_equal(table[[f"{a}_{end}" for end in ("min", "max") for a in axes]], boxes)
    if labels.ndim == 2:
        lengths = [measure.perimeter_crofton(region.image, 4) for region in regions]
        np.testing.assert_allclose(table["perimeter"], lengths, atol=1e-9)
