"""What the table says, and how a run ends, goes on and is refused."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import ndimage

from tests.cli.program import call
from tests.products.objects.test_partition import expected
from tests.products.worlds import NAMES, blobs, write_image, write_masks
from tests.worlds import shard_hashes
from unet_batch.engine.progress import Hooks
from unet_batch.errors import (
    DamageError,
    FormatError,
    InputError,
    OutputError,
    PlanMismatchError,
    StoreBusyError,
)
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.products.objects.run import objects
from unet_batch.store.arrays import open_array
from unet_batch.store.image import Image
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

SERIAL = ObjectsConfig(workers=0)


def table_of(path):
    return pq.read_table(path).to_pandas()


def config(**settings):
    return ObjectsConfig(workers=0, **settings)


@pytest.fixture
def labels():
    return blobs((90, 70), 3)


@pytest.fixture
def masks(tmp_path, labels):
    return write_masks(tmp_path / "masks", labels, pixel_size={"y": 0.5, "x": 0.25}, unit="micrometer")


def test_intensities_are_means_over_the_object(tmp_path, masks, labels):
    pixels = np.random.default_rng(0).integers(0, 60000, (2, 90, 70)).astype("uint16")
    image = write_image(tmp_path / "image", pixels, "cyx")
    objects(masks, tmp_path / "o.parquet", SERIAL, image=image)
    table, numbers = table_of(tmp_path / "o.parquet"), expected(labels, 1)
    for channel in (0, 1):
        means = ndimage.mean(pixels[channel], numbers, table["id"])
        np.testing.assert_allclose(table[f"mean_{channel}"], means)


def test_what_nobody_sets_is_as_the_network_says(tmp_path, masks):
    """Its spec lies in the plan of the masks."""
    objects(masks, tmp_path / "all.parquet", SERIAL)
    node = masks / "zarr.json"
    values = json.loads(node.read_text())
    values["attributes"]["unet_batch"]["plan"] = {"model": {"spec": {"objects": {"smallest": 9}}}}
    node.write_text(json.dumps(values))
    objects(masks, tmp_path / "said.parquet", SERIAL)
    objects(masks, tmp_path / "set.parquet", config(smallest=20))
    sizes = table_of(tmp_path / "all.parquet")["pixels"]
    assert (sizes < 9).any()
    assert table_of(tmp_path / "said.parquet")["pixels"].tolist() == sizes[sizes >= 9].tolist()
    assert table_of(tmp_path / "set.parquet")["pixels"].tolist() == sizes[sizes >= 20].tolist()
    values["attributes"]["unet_batch"]["plan"]["model"]["spec"]["objects"] = {"smallest": "few"}
    node.write_text(json.dumps(values))
    with pytest.raises(FormatError, match="says of objects what cannot be"):
        objects(masks, tmp_path / "wrong.parquet", SERIAL)


def test_sizes_are_in_true_units(tmp_path, masks):
    objects(masks, tmp_path / "o.parquet", SERIAL)
    found = pq.read_table(tmp_path / "o.parquet")
    table = found.to_pandas()
    np.testing.assert_allclose(table["area"], table["pixels"] * 0.125)
    assert found.schema.field("area").metadata == {b"unit": b"micrometer\xc2\xb2"}
    assert found.schema.field("perimeter").metadata == {b"unit": b"micrometer"}


def test_the_perimeter_of_a_circle_in_oblong_pixels(tmp_path):
    y, x = np.mgrid[:200, :400]
    disc = ((y - 100) * 2) ** 2 + (x - 200) ** 2 < 150**2
    masks = write_masks(tmp_path / "m", disc.astype("u1"), pixel_size={"y": 2.0, "x": 1.0})
    objects(masks, tmp_path / "o.parquet", SERIAL)
    assert table_of(tmp_path / "o.parquet")["perimeter"].tolist() == [
        pytest.approx(2 * np.pi * 150, rel=0.01)
    ]


def test_small_objects_are_left_out(tmp_path, masks, labels):
    objects(masks, tmp_path / "o.parquet", config(smallest=20, block=17), labels=tmp_path / "o")
    numbers = expected(labels, 1)
    sizes = np.bincount(numbers.ravel())[1:]
    assert table_of(tmp_path / "o.parquet")["pixels"].tolist() == sizes[sizes >= 20].tolist()
    kept = np.isin(numbers, 1 + np.flatnonzero(sizes >= 20))
    np.testing.assert_array_equal(read(tmp_path / "o", labels.shape) > 0, kept)


def test_classes_can_be_chosen(tmp_path, masks, labels):
    found = objects(masks, tmp_path / "o.parquet", config(classes=["debris", "background"]))
    counts = {name: ndimage.label(labels == k)[1] for k, name in enumerate(NAMES)}
    assert found.objects == {name: counts[name] for name in ("background", "debris")}


def test_channels_of_multilabel_masks_may_overlap(tmp_path):
    labels = np.stack([blobs((60, 50), seed, 2) for seed in (1, 2, 3)])
    labels[1, :9] = 255
    masks = write_masks(tmp_path / "m", labels, "yx", ("road", "tree", "house"), "multilabel")
    found = objects(masks, tmp_path / "o.parquet", config(block=16))
    assert found.objects == {
        name: ndimage.label(plane == 1)[1]
        for name, plane in zip(("road", "tree", "house"), labels, strict=True)
    }
    with pytest.raises(InputError, match="name one class"):
        objects(masks, tmp_path / "p.parquet", SERIAL, labels=tmp_path / "p")
    objects(masks, tmp_path / "p.parquet", config(classes="tree"), labels=tmp_path / "p")
    np.testing.assert_array_equal(read(tmp_path / "p", (60, 50)) > 0, labels[1] == 1)


def test_stacks_are_seen_plane_by_plane_or_whole(tmp_path):
    labels = blobs((4, 40, 30), 7, 2)
    masks = write_masks(tmp_path / "m", labels, "zyx", NAMES[:2], dims=2)
    flat = objects(masks, tmp_path / "flat.parquet", config(block=16))
    deep = objects(
        masks, tmp_path / "deep.parquet", config(block=(2, 16, 16), dims=3), labels=tmp_path / "deep"
    )
    assert flat.objects["cell"] == sum(ndimage.label(plane)[1] for plane in labels)
    assert table_of(tmp_path / "flat.parquet")["z"].value_counts().to_dict() == {
        z: ndimage.label(plane)[1] for z, plane in enumerate(labels)
    }
    np.testing.assert_array_equal(read(tmp_path / "deep", labels.shape), expected(labels, 1, (1,)))
    assert deep.objects["cell"] == ndimage.label(labels)[1]
    assert "volume" in table_of(tmp_path / "deep.parquet")


def test_nothing_in_nothing(tmp_path):
    masks = write_masks(tmp_path / "m", np.zeros((40, 40), "u1"))
    found = objects(masks, tmp_path / "o.parquet", SERIAL, labels=tmp_path / "o")
    assert found.objects == {"cell": 0, "debris": 0}
    assert len(table_of(tmp_path / "o.parquet")) == 0
    assert not read(tmp_path / "o", (40, 40)).any()


def test_the_numbers_open_as_labels_of_the_image(tmp_path, masks, labels):
    out = tmp_path / "numbers"
    objects(masks, tmp_path / "o.parquet", SERIAL, labels=out)
    image = Image.open(out)
    assert (image.dtype, image.axes, image.unit) == (np.dtype("uint32"), "yx", "micrometer")
    assert len(image.levels) == len(Image.open(masks).levels)
    coarse = image.at_level(1).read(Box.of_shape(image.levels[1].shape))[0]
    assert set(np.unique(coarse)) <= set(np.unique(expected(labels, 1)))
    children = (labels > 0).reshape(45, 2, 35, 2).sum(axis=(1, 3))
    assert (children[coarse > 0] >= 2).all(), "0 votes like any other number"
    assert (coarse[children == 4] > 0).any()


def read(path, shape):
    return Masks.open(path).read(Box.of_shape(shape))[0]


def stop_after(blocks):
    seen = []
    return Hooks(lambda event, _: seen.append(event) if event else None, lambda: len(seen) >= blocks)


def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, masks):
    objects(masks, tmp_path / "a.parquet", SERIAL, labels=tmp_path / "a")
    for blocks in (2, 3, 5):
        done = objects(masks, tmp_path / "b.parquet", SERIAL, labels=tmp_path / "b", hooks=stop_after(blocks))
        assert not done.finished
        assert not (tmp_path / "b.parquet").exists()
    done = objects(masks, tmp_path / "b.parquet", SERIAL, labels=tmp_path / "b")
    assert done.finished
    assert shard_hashes(tmp_path / "a") == shard_hashes(tmp_path / "b")
    assert pq.read_table(tmp_path / "a.parquet").equals(pq.read_table(tmp_path / "b.parquet"))
    assert not list(tmp_path.glob("*.partial"))


def test_workers_change_nothing(tmp_path, masks):
    objects(masks, tmp_path / "a.parquet", SERIAL, labels=tmp_path / "a")
    objects(masks, tmp_path / "b.parquet", ObjectsConfig(workers=1), labels=tmp_path / "b")
    assert shard_hashes(tmp_path / "a") == shard_hashes(tmp_path / "b")
    assert pq.read_table(tmp_path / "a.parquet").equals(pq.read_table(tmp_path / "b.parquet"))


def test_a_finished_table_is_left_alone(tmp_path, masks):
    out = tmp_path / "o.parquet"
    first = objects(masks, out, SERIAL, labels=tmp_path / "o")
    written, told = out.stat().st_mtime_ns, []
    (tmp_path / "o.parquet.partial").mkdir()  # a kill between the table's rename and the folder's end
    again = objects(
        masks, out, SERIAL, labels=tmp_path / "o", hooks=Hooks(lambda _, p: told.append(p.message))
    )
    assert again == first
    assert out.stat().st_mtime_ns == written
    assert any("nothing to do" in message for message in told)
    assert not (tmp_path / "o.parquet.partial").exists()
    with pytest.raises(OutputError, match="exists already"):
        objects(masks, out, config(connectivity=2))


def test_another_plan_is_refused(tmp_path, masks):
    objects(masks, tmp_path / "o.parquet", SERIAL, hooks=stop_after(1))
    with pytest.raises(PlanMismatchError, match="connectivity: 2, not 1"):
        objects(masks, tmp_path / "o.parquet", config(connectivity=2))
    objects(masks, tmp_path / "n.parquet", SERIAL, labels=tmp_path / "n")
    with pytest.raises(OutputError, match="exists already"):
        objects(masks, tmp_path / "o.parquet", SERIAL, labels=masks)


def test_two_drivers_do_not_meet(tmp_path, masks):
    objects(masks, tmp_path / "o.parquet", SERIAL, hooks=stop_after(1))
    with Ledger.open(tmp_path / "o.parquet.partial", writable=True), pytest.raises(StoreBusyError):
        objects(masks, tmp_path / "o.parquet", SERIAL)


def test_a_damaged_block_is_named_and_mended(tmp_path, masks):
    array = open_array(masks / "0")
    shard = next(file for file in sorted((masks / "0").rglob("c/*/*")) if file.is_file())
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-9] + bytes(9))
    assert array.shape == (90, 70)
    with pytest.raises((DamageError, InputError), match=r"damaged|failed"):
        objects(masks, tmp_path / "o.parquet", SERIAL)
    shard.write_bytes(whole)
    assert objects(masks, tmp_path / "o.parquet", SERIAL).finished


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"classes": ["cel"]}, "no class cel; choose among background, cell, debris"),
        ({"border": "rim"}, "no class rim"),
        ({"border": "cell", "classes": ["cell"]}, "cell is the border class"),
        ({"dims": 3}, "axes yx have no z"),
        ({"block": [1, 2, 3]}, "3 numbers for objects of 2"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path, masks, settings, says):
    with pytest.raises(InputError, match=says):
        objects(masks, tmp_path / "o.parquet", config(**settings))
    assert [entry.name for entry in tmp_path.iterdir()] == ["masks"]


def test_the_program(tmp_path, masks, labels, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = call(
        "objects", "masks", "o.parquet", "--set", "workers=0", "--set", "smallest=5", "--json", "-q"
    )
    numbers = expected(labels, 1)
    sizes = np.bincount(numbers.ravel())[1:]
    assert sum(answer.json["objects"].values()) == (sizes >= 5).sum()
    about = json.loads(pq.read_metadata("o.parquet").metadata[b"unet_batch"])
    assert about["plan"]["smallest"] == 5
    assert "no class x" in call("objects", "masks", "p.parquet", "--set", "classes=[x]").refusal
    assert ".parquet" in call("objects", "masks", "o.txt").refusal
    assert "no such path" in call("objects", "none", "p.parquet").refusal
    np.save("grey.npy", labels[:-1])
    assert "has shape" in call("objects", "masks", "p.parquet", "--image", "grey.npy").refusal


def test_csv_is_the_same_table_with_units_in_the_names(tmp_path, masks):
    objects(masks, tmp_path / "o.parquet", SERIAL)
    done = objects(masks, tmp_path / "o.csv", SERIAL)
    told, found = table_of(tmp_path / "o.parquet"), pd.read_csv(tmp_path / "o.csv")
    assert {"area_um2", "perimeter_um", "position_x_um"} <= set(found.columns)
    np.testing.assert_allclose(found["position_x_um"], found["centroid_x"] * 0.25)
    np.testing.assert_allclose(found["position_y_um"], found["centroid_y"] * 0.5)
    assert found["class"].tolist() == told["class"].tolist()
    np.testing.assert_allclose(found.drop(columns="class"), told.drop(columns="class"))
    assert sum(done.objects.values()) == len(told)
    with pytest.raises(OutputError, match="exists already"):
        objects(masks, tmp_path / "o.csv", SERIAL)
    assert objects(masks, tmp_path / "o.csv", config(overwrite=True)).finished
    (tmp_path / "p.csv").write_text("name,age\n")
    with pytest.raises(OutputError, match="no table of objects"):
        objects(masks, tmp_path / "p.csv", config(overwrite=True))


def test_a_class_is_no_formula_of_a_spreadsheet(tmp_path, labels):
    masks = write_masks(tmp_path / "m", labels, names=("background", "=cell()", "debris"))
    objects(masks, tmp_path / "o.csv", SERIAL)
    assert set(pd.read_csv(tmp_path / "o.csv")["class"]) == {"'=cell()", "debris"}


def test_the_summary_tells_density_and_median(tmp_path, masks):
    first = objects(masks, tmp_path / "o.parquet", SERIAL).summary
    table = table_of(tmp_path / "o.parquet")
    assert first.count == len(table)
    assert first.median == pytest.approx(table["area"].median())
    assert first.density == pytest.approx(len(table) / (90 * 0.5 * 70 * 0.25 * 1e-6))
    assert (first.per, first.unit) == ("mm²", "micrometer²")
    assert objects(masks, tmp_path / "o.parquet", SERIAL).summary == first, "of a table that is there"


def test_without_the_size_of_a_pixel_there_is_no_density(tmp_path, labels):
    masks = write_masks(tmp_path / "m", labels)
    answer = call("objects", masks, tmp_path / "o.parquet", "--set", "workers=0")
    table = table_of(tmp_path / "o.parquet")
    assert f"median area {table['pixels'].median():.4g} px²" in answer.out
    assert " per " not in answer.out
    assert not [name for name in table if name.startswith("position")]
