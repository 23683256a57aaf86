"""Names that lead to the network: found in names, VRTs and what they name, and never opened."""

import numpy as np
import pytest
import rasterio

from tests.formats.geo_files import noise, write_scene
from unet_batch.errors import FormatError, InputError
from unet_batch.formats.raster import opened
from unet_batch.formats.remote import leads_away

AWAY = "/vsicurl/http://127.0.0.1:1/a.tif"
VRT = (
    '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
    '<SourceFilename relativeToVRT="1">{}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
)


@pytest.mark.parametrize(
    "name",
    [
        *(
            AWAY,
            "http://h/a.tif",
            "S3://b/a",
            "zip+https://h/a.zip",
            "/vsizip//vsis3/b/a.zip",
            "/VSICURL/ftp",
        ),
        *("WMS:http://h?", "WMS:h/x", "wcs:h", "PG:host=h", "a/WMS:http://h", "STACTA:/vsigs/b/a"),
    ],
)
def test_a_name_that_leads_away(name):
    assert leads_away(name)


@pytest.mark.parametrize(
    "name",
    [
        *("a.tif", "/data/a b.tif", "C:/a.tif", "file:///a.tif", "/vsizip/a.zip/a.tif", "zip:///a.zip!a.tif"),
        *("EPSG:32633", 'NETCDF:"a.nc":x', "12"),
    ],
)
def test_a_name_of_this_machine(name):
    assert not leads_away(name)


@pytest.mark.parametrize(
    "source",
    [AWAY, "/vsi&#99;url/http://127.0.0.1:1/a.tif", "<![CDATA[WMS:127.0.0.1:1/]]>", "inner.vrt", "w.xml"],
)
def test_a_vrt_that_names_the_network_is_not_opened(tmp_path, monkeypatch, source):
    (tmp_path / "a.vrt").write_text(VRT.format(source))
    (tmp_path / "inner.vrt").write_text(VRT.format(AWAY))
    (tmp_path / "w.xml").write_text("<GDAL_WMS><ServerUrl>http://127.0.0.1:1</ServerUrl></GDAL_WMS>")
    asked = []
    monkeypatch.setattr(rasterio.io, "DatasetReader", lambda path, **_: asked.append(path))
    with (
        pytest.raises(InputError, match=r"a\.vrt: names .*not on this machine; allow it with --remote"),
        opened(str(tmp_path / "a.vrt")),
    ):
        pass
    assert not asked


def test_a_vrt_of_files_is_read(tmp_path):
    pixels = noise((1, 9, 9))
    write_scene(tmp_path / "a.tif", pixels)
    (tmp_path / "a.vrt").write_text(VRT.format("a.tif"))
    with opened(str(tmp_path / "a.vrt")) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels)


@pytest.mark.parametrize("remote", [False, True])
def test_overviews_elsewhere_are_not_fetched(tmp_path, remote):
    path = write_scene(tmp_path / "a.tif", noise((1, 9, 9)))
    item = f'<MDI key="OVERVIEW_FILE">{AWAY}</MDI>'
    (tmp_path / "a.tif.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="OVERVIEWS">{item}</Metadata></PAMDataset>'
    )
    if remote:
        with opened(str(path), remote=True) as dataset:
            assert dataset.tags(ns="OVERVIEWS")
        return
    with pytest.raises(InputError, match="not on this machine"), opened(str(path)):
        pass


def test_drivers_that_ask_servers_open_no_file(tmp_path):
    (tmp_path / "w.xml").write_text("<GDAL_WMS><Service name='TMS'/></GDAL_WMS>")
    with (
        pytest.raises(FormatError, match="convert it with `gdal_translate`"),
        opened(str(tmp_path / "w.xml"), remote=True),
    ):
        pass
    with (
        pytest.raises(FormatError, match="format that is not read"),
        opened("WMS:http://127.0.0.1:1/?LAYERS=a"),
    ):
        pass
