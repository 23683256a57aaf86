# COCO, labelme and Pascal VOC are painted like QuPath's annotations; instances get numbers.

import json

import numpy as np
import pytest

from tests.cli.program import call
from tests.ingestion.annotations.drawn import feature, painted, rectangle, write_geojson, write_image
from unet_batch.errors import FormatError, InputError
from unet_batch.ingestion.annotations.dialects import _decoded
from unet_batch.store.georef import GeoReference
from unet_batch.store.masks import Masks

HEIGHT, WIDTH = 90, 120


@pytest.fixture
def expected():
    labels = np.full((HEIGHT, WIDTH), 255)
    labels[10:30, 30:60] = 0
    return labels


def coco(*annotations, images=1, **more):
    names = ["image.png", "other.png"][:images]
    return {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "categories": [{"id": 7, "name": "cell"}],
        "annotations": [{"image_id": 0, "category_id": 7, **one} for one in annotations],
        **more,
    }


def runs():
    """The rectangle as COCO counts it: down the columns."""
    mask = np.zeros((HEIGHT, WIDTH), int)
    mask[10:30, 30:60] = 1
    flat = np.concatenate([[0], mask.T.ravel(), [0]])
    edges = np.flatnonzero(np.diff(flat))
    return np.diff([0, *edges, HEIGHT * WIDTH]).tolist()


def compressed(counts):
    """As pycocotools writes counts."""
    text = ""
    for i, count in enumerate(counts):
        value, more = count - (counts[i - 2] if i > 2 else 0), True
        while more:
            letter, value = value & 0x1F, value >> 5
            more = value != (-1 if letter & 0x10 else 0)
            text += chr((letter | (0x20 if more else 0)) + 48)
    return text


SHAPES = {
    "polygon": {"segmentation": [[30, 10, 60, 10, 60, 30, 30, 30]]},
    "box": {"bbox": [30, 10, 30, 20]},
    "runs": {"segmentation": {"size": [HEIGHT, WIDTH], "counts": runs()}},
    "compressed runs": {"segmentation": {"size": [HEIGHT, WIDTH], "counts": compressed(runs())}},
}


@pytest.mark.parametrize("kind", SHAPES)
def test_coco(tmp_path, expected, kind):
    path = tmp_path / "coco.json"
    other = {**SHAPES["box"], "image_id": 1, "bbox": [0, 0, 9, 9]}
    path.write_text(json.dumps(coco(SHAPES[kind], other, images=2)))
    labels, summary = painted(tmp_path, path)
    assert np.array_equal(labels, expected)
    assert summary.annotations == {"cell": 1}


def test_compressed_counts_are_those_that_were_counted():
    counts = [5, 3, 700, 1, 2, 40_000, 0, 9]
    assert _decoded(compressed(counts)) == counts


def test_coco_of_several_images_takes_the_one_of_the_name(tmp_path):
    path = tmp_path / "coco.json"
    values = coco(SHAPES["box"], images=2)
    values["images"][0]["file_name"] = "first.png"
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"2 images \(first.png, other.png\), of which 0 are named image"):
        painted(tmp_path, path)


@pytest.mark.parametrize("kind", ["polygon", "rectangle"])
def test_labelme(tmp_path, expected, kind):
    points = [[30, 10], [60, 30]] if kind == "rectangle" else [[30, 10], [60, 10], [60, 30], [30, 30]]
    shape = {"label": "cell", "shape_type": kind, "points": points}
    path = tmp_path / "drawn.json"
    path.write_text(json.dumps({"shapes": [shape], "imagePath": "image.png"}))
    assert np.array_equal(painted(tmp_path, path)[0], expected)


VOC = """<annotation><object><name>cell</name><bndbox>
<xmin>31</xmin><ymin>11</ymin><xmax>60</xmax><ymax>30</ymax></bndbox></object></annotation>"""


def test_pascal_voc_counts_pixels_from_one(tmp_path, expected):
    (tmp_path / "drawn.xml").write_text(VOC)
    assert np.array_equal(painted(tmp_path, tmp_path / "drawn.xml")[0], expected)


def test_they_are_in_pixels_on_a_map_too(tmp_path, expected):
    (tmp_path / "drawn.xml").write_text(VOC)
    image = write_image(tmp_path, georef=GeoReference("EPSG:32633", (10, 0, 500_000, 0, -10, 5_200_000)))
    assert np.array_equal(painted(tmp_path, tmp_path / "drawn.xml", image)[0], expected)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", json.dumps({"shapes": [{"label": "a", "points": "x"}]}), "cannot be used"),
        (
            "a.json",
            json.dumps({"shapes": [{"label": "a", "shape_type": "mask", "points": [[1, 2]]}]}),
            "mask",
        ),
        ("a.json", json.dumps(coco({"bbox": [1]})), "cannot be used"),
        (
            "a.json",
            json.dumps(coco({"segmentation": {"size": [9, 9], "counts": [3]}})),
            "run lengths end at 3",
        ),
        ("a.xml", "<a></a>", "without objects"),
        ("a.xml", "<a", "cannot be used"),
        ("a.xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "document type"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(FormatError, match=says):
        painted(tmp_path, tmp_path / name)


def test_instances_get_numbers_that_training_takes(tmp_path):
    drawn = [feature("a", rectangle(0, 0, 9, 9)), feature("b", rectangle(20, 20, 25, 30))]
    labels, summary = painted(tmp_path, write_geojson(tmp_path, drawn), instances=True)
    expected = np.zeros((HEIGHT, WIDTH))
    expected[:9, :9], expected[20:30, 20:25] = 1, 2
    assert np.array_equal(labels, expected)
    assert (summary.annotations, summary.pixels) == ({"instances": 2}, {"instances": 131})
    assert Masks.open(tmp_path / "labels.zarr").layout.kind == "instances"


def test_what_lies_outside_or_beneath_is_told(tmp_path):
    drawn = [
        feature("a", rectangle(5, 5, 9, 9)),
        feature("z", rectangle(0, 0, WIDTH, HEIGHT)),
        feature("z", rectangle(500, 500, 600, 600)),
    ]
    image = write_image(tmp_path)
    said = call("ingest", "annotations", image, write_geojson(tmp_path, drawn), tmp_path / "out.zarr", "-q")
    assert said.code == 0
    assert "1 of 3 annotations lie outside the image" in said.err
    assert "a has 1 annotations and not one pixel" in said.err
