"""Sources: what is opened, measured and indexed, and every way in which stores do not fit, told in a line."""

import numpy as np
import pytest

from tests.training.data.labelled import coordinates, opened, spec_of, write_pair
from tests.worlds import write_image
from unet_batch.config import validate
from unet_batch.errors import ConfigError, FormatError, InputError, MissingError
from unet_batch.models.spec import MeanStd
from unet_batch.tiling import Box
from unet_batch.training.data import occupancy
from unet_batch.training.data.config import DataConfig


@pytest.fixture
def source(tmp_path):
    labels = np.zeros((3, 40, 50), np.uint8)
    labels[:, 20:] = 1
    labels[0, :10] = 255
    return write_pair(tmp_path, coordinates((3, 40, 50)), labels, "zyx")


def test_boxes_may_leave_axes_out(source):
    given = {**source, "train": [[[0, 2]], [None, [3, 9]]], "validation": [[]], "test": "all"}
    sources = opened(given)
    assert [region.box for region in sources.train] == [
        Box((0, 0, 0), (2, 40, 50)),
        Box((0, 3, 0), (3, 9, 50)),
    ]
    assert [region.box for region in (*sources.validation, *sources.test)] == [Box.of_shape((3, 40, 50))] * 2
    assert len({r.number for r in (*sources.train, *sources.validation, *sources.test)}) == 4
    assert str(sources.train[0]).endswith("image.zarr[0:2, 0:40, 0:50]")


def test_mean_and_std_are_those_of_the_training_boxes(source):
    sources = opened({**source, "train": [[[0, 1], [0, 20]], [[2, 3]]]})
    image = coordinates((3, 40, 50))
    pixels = np.concatenate([image[0, :20].ravel(), image[2].ravel()]).astype(np.float64)
    assert sources.spec.normalisation.mean == pytest.approx((pixels.mean(),))
    assert sources.spec.normalisation.std == pytest.approx((pixels.std(),))


def test_a_normalisation_that_is_there_stays(source):
    fixed = MeanStd(mean=(1.0,), std=(2.0,))
    assert opened(source, spec_of(normalisation=fixed)).spec.normalisation == fixed
    assert opened(source, measure=False).spec.normalisation == "none"


def test_pixels_without_data_are_not_measured(tmp_path):
    image = np.full((40, 40), 3, np.float32)
    image[20:] = np.nan
    image[0] = 5
    sources = opened(write_pair(tmp_path, image, np.zeros((40, 40), np.uint8), "yx"))
    assert sources.spec.normalisation.mean == pytest.approx((3.1,))


def test_the_index_is_kept_until_labels_change(source, tmp_path, monkeypatch):
    folder = tmp_path / "index"
    first = opened(source, index=folder)
    scans = []
    monkeypatch.setattr(occupancy, "count_labels", lambda *a: scans.append(a) or pytest.fail("counted again"))
    again = opened(source, index=folder)
    assert again.counts == first.counts == {"a": 2500, "b": 3000, "c": 0}
    monkeypatch.undo()
    labels = np.ones((3, 40, 50), np.uint8)
    write_image(tmp_path / "new", labels, "zyx", chunk=32, fill=255)
    assert opened({**source, "labels": str(tmp_path / "new")}, index=folder).counts["b"] == 6000


def test_a_torn_index_is_counted_again(source, tmp_path):
    folder = tmp_path / "index"
    counts = opened(source, index=folder).counts
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    assert opened(source, index=folder).counts == counts


def test_progress_counts_every_pixel(source):
    from unet_batch.training.data.sources import open_sources

    told = []
    config = DataConfig.model_validate({"sources": [{**source, "validation": [[[0, 1]]]}]})
    open_sources(config, spec_of(), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (8000, 8000)


def test_values_are_mapped_and_left_out(tmp_path):
    labels = np.array([[0, 255, 7, -1]] * 4, np.int32)
    source = write_pair(tmp_path, coordinates((4, 4)), labels, "yx")
    given = {**source, "remap": {255: 1, 7: None, 0: 2}, "unlabelled": -1}
    (region,) = opened(given).train
    assert region.read_labels(region.box)[0, 0].tolist() == [2, 1, 255, 255]
    assert opened(given).counts == {"a": 0, "b": 4, "c": 4}


def test_channels_by_name_or_number(tmp_path):
    image = np.stack([coordinates((20, 20)), coordinates((20, 20)) + 1000])
    source = write_pair(tmp_path, image, np.zeros((20, 20), np.uint8), "cyx", "yx", channels=[1])
    (region,) = opened(source).train
    assert np.array_equal(region.read_image(region.box)[0], image[1])
    with pytest.raises(InputError, match="no channel 2; choose among 0 to 1"):
        opened({**source, "channels": [2]})
    with pytest.raises(InputError, match="2 channels, the network takes 1"):
        opened({**source, "channels": None})


def test_labels_of_another_shape(source, tmp_path):
    write_image(tmp_path / "other", np.zeros((3, 40, 49), np.uint8), "zyx", chunk=32)
    with pytest.raises(InputError, match=r"has shape \(3, 40, 49\).*needs \(3, 40, 50\)"):
        opened({**source, "labels": str(tmp_path / "other")})
    with pytest.raises(InputError, match=r"has shape \(3, 40, 49\)"):
        opened({**source, "weights": str(tmp_path / "other")})


def test_labels_of_another_grid(tmp_path):
    from unet_batch.ingestion.config import IngestConfig
    from unet_batch.ingestion.run import ingest

    for name, size in (("image", 0.5), ("labels", 0.25)):
        np.save(tmp_path / f"{name}.npy", np.zeros((40, 40), np.uint8))
        ingest(tmp_path / f"{name}.npy", tmp_path / f"{name}.zarr", IngestConfig(pixel_size=size))
    source = {"image": str(tmp_path / "image.zarr"), "labels": str(tmp_path / "labels.zarr"), "train": "all"}
    with pytest.raises(InputError, match="give labels of the same grid"):
        opened(source)


def test_a_class_past_the_list_names_the_place(tmp_path):
    labels = np.zeros((40, 40), np.uint8)
    labels[33, 7] = 3
    source = write_pair(tmp_path, coordinates((40, 40)), labels, "yx")
    with pytest.raises(InputError, match=r"holds 3 at \(33, 7\), but the classes are 0 to 2 \(a, b, c\)"):
        opened(source)
    with pytest.raises(InputError, match="remap 3: 3 leads past the 3 classes"):
        opened({**source, "remap": {3: 3}})


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_boxes_that_cannot_be_used(source, part):
    with pytest.raises(InputError, match=rf"0:40, 0:51\]: this {part} box reaches past the image"):
        opened({**source, part: [[None, None, [0, 51]]]})
    with pytest.raises(InputError, match="box has 4 ranges, the image axes zyx"):
        opened({**source, part: [[None, None, None, [0, 5]]]})
    with pytest.raises(InputError, match=r"\[0:1, 0:10, 0:50\]: .* has no labelled pixel"):
        opened({**source, part: [[[0, 1], [0, 10]]]})


def test_labels_that_are_no_numbers_of_classes(tmp_path):
    source = write_pair(tmp_path, coordinates((8, 8)), np.zeros((8, 8), np.float32), "yx")
    with pytest.raises(InputError, match="holds float32, not class numbers"):
        opened(source)
    with pytest.raises(InputError, match="classes labels do not fit a regression head"):
        opened(source, spec_of(["r"], head="regression"))


def test_stores_that_are_not_there_or_no_stores(source, tmp_path):
    with pytest.raises(MissingError):
        opened({**source, "image": str(tmp_path / "nowhere.zarr")})
    (tmp_path / "labels.tif").write_bytes(b"II*")
    with pytest.raises(FormatError, match="ingest it first"):
        opened({**source, "labels": str(tmp_path / "labels.tif")})


def test_a_3d_network_needs_a_z(tmp_path):
    source = write_pair(tmp_path, coordinates((8, 8)), np.zeros((8, 8), np.uint8), "yx")
    with pytest.raises(InputError, match="axes yx have no z"):
        opened(source, spec_of(dims=3))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"train": []}, "no source has `train` boxes"),
        ({"train": [[[5, 5]]]}, r"the range \[5, 5\] is empty"),
        ({"label_kind": "classses"}, "label_kind"),
        ({"lables": "x"}, "did you mean `labels`"),
        ({"label_kind": "regression", "remap": {1: 2}}, "`remap` has no meaning for regression"),
    ],
)
def test_settings_that_cannot_be_used(source, keys, message):
    with pytest.raises(ConfigError, match=message):
        validate(DataConfig, {"sources": [{**source, **keys}]}, "train.yaml")
