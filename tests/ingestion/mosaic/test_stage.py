"""Fields of a stage scan: placed by a CSV or by their own OME-XML, in whole pixels."""

import numpy as np
import pytest
import tifffile

from unet_batch.errors import FormatError, InputError
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.run import ingest_mosaic
from unet_batch.store.image import Image
from unet_batch.tiling.box import Box

SETTINGS = {"block": 64, "chunk": 32, "workers": 0}
PLACES = [(0, 0), (3, 40), (38, 1), (40, 41)]


def scene(shape=(90, 95)):
    return np.random.default_rng(0).integers(1, 200, shape).astype("uint8")


def ome_fields(folder, whole, unit="µm", **more):
    paths = []
    for number, (y, x) in enumerate(PLACES):
        plane = {"PositionX": 100 + 0.5 * x, "PositionY": 50 + 0.5 * y}
        plane = {k: [v] * more.get("planes", 1) for k, v in plane.items()}
        if unit:
            plane |= {f"Position{a}Unit": [unit] * more.get("planes", 1) for a in "XY"}
        pixels = whole[..., y : y + 50, x : x + 50]
        metadata = {"axes": more.get("axes", "YX"), "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm",
                    "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm", "Plane": plane}  # fmt: skip
        paths.append(folder / f"{number}.ome.tif")
        tifffile.imwrite(paths[-1], pixels, metadata=metadata, ome=True)
    return paths


def made(paths, out, index=None, **settings):
    ingest_mosaic(paths, out, MosaicConfig(**{**SETTINGS, **settings}), index=index)
    image = Image.open(out)
    return image.read(Box.of_shape(image.shape)), image


def test_positions_in_ome_xml(tmp_path):
    whole = scene()
    pixels, image = made(ome_fields(tmp_path, whole), tmp_path / "out.zarr")
    count = Image.open(image.nodata_mask).read(Box.of_shape(image.shape))[0]
    np.testing.assert_array_equal(pixels[0], np.where(count > 0, whole[:90, :91], 0))
    assert image.georef is None
    assert (image.pixel_size, image.unit) == ({"y": 0.5, "x": 0.5}, "micrometer")
    assert count.max() == 4


def test_stacks_with_channels_keep_their_axes(tmp_path):
    whole = scene((2, 3, 90, 95))
    paths = ome_fields(tmp_path, whole, axes="CZYX", planes=6)
    pixels, image = made(paths, tmp_path / "out.zarr", bands=[1])
    assert image.axes == "zyx"
    assert image.shape == (3, 90, 91)
    np.testing.assert_array_equal(pixels[0, :, 10:40, 5:45], whole[1, :, 10:40, 5:45])


@pytest.mark.parametrize("flip", [False, True])
def test_positions_in_a_csv(tmp_path, flip):
    whole, rows = scene(), ["path,x,y"]
    for number, (y, x) in enumerate(PLACES):
        np.save(tmp_path / f"{number}.npy", whole[y : y + 50, x : x + 50])
        rows.append(f"{number}.npy,{x + 0.2},{-y if flip else y}")
    (tmp_path / "i.csv").write_text("\n".join(rows))
    pixels, _ = made([], tmp_path / "out.zarr", tmp_path / "i.csv", position_unit="pixel", flip_y=flip)
    np.testing.assert_array_equal(pixels[0, 3:50, :40], whole[3:50, :40])
    with pytest.raises(InputError, match="positions in micrometres need a pixel size"):
        made([], tmp_path / "other.zarr", tmp_path / "i.csv")


def test_fields_fade_into_each_other(tmp_path):
    for number, value in enumerate((100, 200)):
        np.save(tmp_path / f"{number}.npy", np.full((20, 30), value, "uint8"))
    (tmp_path / "i.csv").write_text("path,x,y\n0.npy,0,0\n1.npy,20,0\n")
    settings = {"position_unit": "pixel", "rule": "feather", "feather": 10}
    pixels, _ = made([], tmp_path / "out.zarr", tmp_path / "i.csv", **settings)
    middle = pixels[0, 10].astype(int)
    assert middle[0] == 100
    assert middle[-1] == 200
    assert (np.diff(middle) >= 0).all()
    assert np.abs(np.diff(middle)).max() <= 10


def test_without_positions(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", scene(), metadata={"axes": "YX"}, ome=True)
    with pytest.raises(FormatError, match="no stage position"):
        made([tmp_path / "a.ome.tif"], tmp_path / "out.zarr", positions="ome")


def test_fields_that_do_not_go_together(tmp_path):
    np.save(tmp_path / "0.npy", scene())
    np.save(tmp_path / "1.npy", scene().astype("uint16"))
    (tmp_path / "i.csv").write_text("path,x,y\n0.npy,0,0\n1.npy,20,0\n")
    with pytest.raises(InputError, match=r"1\.npy: its dtype"):
        made([], tmp_path / "out.zarr", tmp_path / "i.csv", position_unit="pixel")
    (tmp_path / "i.csv").write_text("path,x,y\n0.npy,0,0\n1.npy,,\n")
    with pytest.raises(InputError, match=r"1\.npy: has no position"):
        made([], tmp_path / "out.zarr", tmp_path / "i.csv", position_unit="pixel")
