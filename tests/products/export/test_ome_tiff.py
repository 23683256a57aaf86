"""OME-TIFF: read back by tifffile with its pyramid, and by bioio, whose reader knows only level 0."""

import numpy as np
import pytest
import tifffile
from bioio import BioImage
from bioio_ome_tiff import Reader

from tests.products.export.stores import NAMES, blobs, store_masks
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.run import export
from unet_batch.store.pyramid import halve_labels

# What bioio 1.4 says of the library that it reads OME-XML with.
pytestmark = pytest.mark.filterwarnings("ignore:As of version 0.4.0, the parser argument")

MICROMETRES = {"pixel_size": {"z": 2.0, "y": 0.25, "x": 0.5}, "unit": "micrometer"}


def written(tmp_path, labels, **layout):
    """The file that ``labels`` are exported to."""
    store_masks(tmp_path / "m", labels, **MICROMETRES, **layout)
    export(tmp_path / "m", tmp_path / "m.ome.tif", ExportConfig(workers=0, tile=64))
    return tmp_path / "m.ome.tif"


def test_a_slide_in_tifffile(tmp_path):
    labels = blobs(300, 200)
    with tifffile.TiffFile(written(tmp_path, labels, levels=2)) as file:
        (series,) = file.series
        assert (series.kind, series.axes) == ("ome", "YX")
        for level in series.levels:
            np.testing.assert_array_equal(level.asarray(), labels)
            labels = halve_labels(labels, (0, 1), 255)
        assert [level.shape for level in series.levels] == [(300, 200), (150, 100), (75, 50), (38, 25)]
        assert len(file.pages.first.subifds) == 3
        assert 'PhysicalSizeX="0.5" PhysicalSizeXUnit="µm"' in file.ome_metadata
        assert all(f">{name}<" in file.ome_metadata for name in NAMES)


def test_a_slide_in_bioio(tmp_path):
    labels = blobs(300, 200)
    image = BioImage(written(tmp_path, labels), reader=Reader)
    assert (image.physical_pixel_sizes.Y, image.physical_pixel_sizes.X) == (0.25, 0.5)
    assert image.channel_names == ["labels"]
    np.testing.assert_array_equal(image.data[0, 0, 0], labels)


@pytest.mark.parametrize("dims", [2, 3])
def test_all_planes_of_a_stack(tmp_path, dims):
    labels = np.stack([blobs(100, 70, seed) for seed in range(6)])
    path = written(tmp_path, labels, axes="zyx", dims=dims)
    image = BioImage(path, reader=Reader)
    assert image.physical_pixel_sizes.Z == 2.0
    np.testing.assert_array_equal(image.data[0, 0], labels)
    with tifffile.TiffFile(path) as file:
        half = file.series[0].levels[1].asarray()
    np.testing.assert_array_equal(half, halve_labels(labels, (-2, -1), 255))


def test_channels_and_times(tmp_path):
    labels = np.stack([np.stack([blobs(70, 90, 10 * c + t) > 0 for t in range(3)]) for c in range(2)])
    path = written(tmp_path, labels.astype(np.uint8), axes="tyx", kind="multilabel", names=("road", "house"))
    image = BioImage(path, reader=Reader)
    assert image.channel_names == ["road", "house"]
    np.testing.assert_array_equal(image.data[:, :, 0], np.moveaxis(labels, 0, 1))
