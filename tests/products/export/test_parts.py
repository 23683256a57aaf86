import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

from tests.products.export.stores import NAMES, UTM, blobs, store_masks
from unet_batch.errors import ConfigError
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.run import export
from unet_batch.store.pyramid import halve_labels


def test_parts_together_are_the_mask(tmp_path):
    labels = blobs(600, 500)
    store_masks(tmp_path / "m", labels, georef=UTM)
    found = export(tmp_path / "m", f"{tmp_path}/parts/", ExportConfig(workers=0, tile=64, part=256))
    names = sorted(entry.name for entry in (tmp_path / "parts").iterdir())
    assert names == [*(f"00{i}_00{j}.tif" for i in range(3) for j in range(2)), "mask.vrt"]
    assert found.bytes == sum(file.stat().st_size for file in (tmp_path / "parts").iterdir())
    with rasterio.open(tmp_path / "parts" / "mask.vrt") as image:
        np.testing.assert_array_equal(image.read(1), labels)
        assert image.crs.to_epsg() == 32633
        assert tuple(image.transform)[:6] == UTM.transform
        assert image.nodata == 255
        assert image.colormap(1)[1] is not None


def test_each_part_is_a_valid_cog_in_its_place(tmp_path):
    labels = blobs(600, 500)
    store_masks(tmp_path / "m", labels, georef=UTM)
    export(tmp_path / "m", tmp_path / "parts", ExportConfig(workers=0, tile=64, part=256))
    for row, column in np.ndindex(3, 2):
        path = tmp_path / "parts" / f"00{row}_00{column}.tif"
        assert cog_validate(path, strict=True) == (True, [], [])
        part = labels[256 * row : 256 * row + 256, 256 * column : 256 * column + 256]
        with rasterio.open(path) as image:
            np.testing.assert_array_equal(image.read(1), part)
            place = UTM.shifted(256 * row, 256 * column)
            assert tuple(image.transform)[:6] == place.transform
            assert image.tags()["CLASS_1"] == NAMES[1]
        with rasterio.open(path, overview_level=0) as image:
            np.testing.assert_array_equal(image.read(1), halve_labels(part, (0, 1), 255))


def test_a_part_is_whole_tiles_at_all_its_levels():
    with pytest.raises(ConfigError, match="times a power of two, not 192"):
        ExportConfig(tile=64, part=192)
