import json

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unet_batch.errors import InputError, MissingError
from unet_batch.products import evaluate as module
from unet_batch.products.evaluate import evaluate
from unet_batch.store.arrays import create_array
from unet_batch.store.layout import ArrayLayout
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import MasksLayout
from unet_batch.tiling import Box

NAMES = ("background", "cell", "border")
BLOCK = 16


def store_masks(path, labels, kind="multiclass", names=NAMES):
    """Masks of (C, y, x) labels."""
    shape = labels.shape[1:]
    layout = MasksLayout(kind, "yx", shape, (BLOCK, BLOCK), (8, 8), 2, names, levels=1)
    masks = Masks.create(path, layout, {})
    for y in range(0, shape[0], BLOCK):
        for x in range(0, shape[1], BLOCK):
            box = Box((y, x), (y + BLOCK, x + BLOCK)).intersect(Box.of_shape(shape))
            masks.write_block(box, {"labels": [labels[(slice(None), *box.slices)].astype(layout.dtype)]})
    masks.finish()
    return path


def store_truth(path, labels, names=None):
    whole = Box.of_shape(labels.shape)
    array = create_array(
        path, ArrayLayout(labels.shape, labels.dtype.name, labels.shape, labels.shape, names=names)
    )
    array.write_shard(whole, labels)
    return path


def labels(shape, high, seed):
    return np.random.default_rng(seed).integers(0, high, shape).astype("uint8")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """So that even small images are streamed in several pieces."""
    monkeypatch.setattr(module, "_PIECE", 256)


def dice(truth, found):
    return 2 * (truth & found).sum() / (truth.sum() + found.sum())


def test_scores_are_those_of_the_whole_image(tmp_path):
    truth, found = labels((41, 37), 3, 1), labels((41, 37), 3, 2)
    truth[5:9] = 255
    found[20:30, :7] = 255
    result = evaluate(store_masks(tmp_path / "m", found[None]), store_truth(tmp_path / "t", truth))
    valid = (truth != 255) & (found != 255)
    t, f = truth[valid], found[valid]
    for label, name in enumerate(NAMES):
        one = result.classes[name]
        assert one.dice == pytest.approx(dice(t == label, f == label))
        assert one.iou == pytest.approx(
            ((t == label) & (f == label)).sum() / ((t == label) | (f == label)).sum()
        )
        assert one.precision == pytest.approx((t[f == label] == label).mean())
        assert one.recall == pytest.approx((f[t == label] == label).mean())
        assert one.pixels == (t == label).sum()
    assert result.accuracy == pytest.approx((t == f).mean())
    assert result.mean_dice == pytest.approx(np.mean([one.dice for one in result.classes.values()]))
    assert (result.pixels, result.ignored, result.unpredicted) == (valid.sum(), 4 * 37, 10 * 7)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_region_counts_only_its_pixels(tmp_path_factory, data):
    truth, found = labels((30, 33), 3, 3), labels((30, 33), 3, 4)
    folder = tmp_path_factory.getbasetemp() / "region"
    if not folder.exists():
        folder.mkdir()
        store_masks(folder / "m", found[None])
        store_truth(folder / "t", truth)
    y0, y1 = sorted(data.draw(st.tuples(st.integers(-3, 35), st.integers(-3, 35))))
    roi = Box((y0, 4), (y1, 29))
    inside = roi.intersect(Box.of_shape(truth.shape))
    if not inside.size:
        with pytest.raises(InputError, match="covers no pixel"):
            evaluate(folder / "m", folder / "t", roi=roi)
        return
    result = evaluate(folder / "m", folder / "t", roi=roi)
    assert result.accuracy == pytest.approx((truth == found)[inside.slices].mean())
    assert result.pixels == inside.size


def test_multilabel_channels_are_scored_apart(tmp_path):
    truth, found = labels((2, 20, 21), 2, 5), labels((2, 20, 21), 2, 6)
    truth[0, :3] = 255
    found[1, 4:6] = 255
    masks = store_masks(tmp_path / "m", found, "multilabel", ("road", "house"))
    result = evaluate(masks, store_truth(tmp_path / "t", truth))
    for channel, name in enumerate(("road", "house")):
        valid = (truth[channel] != 255) & (found[channel] != 255)
        expected = dice(truth[channel][valid] == 1, found[channel][valid] == 1)
        assert result.classes[name].dice == pytest.approx(expected)
    assert (result.ignored, result.unpredicted) == (3 * 21, 2 * 21)


def test_one_multilabel_channel(tmp_path):
    truth, found = labels((1, 20, 20), 2, 7), labels((1, 20, 20), 2, 8)
    masks = store_masks(tmp_path / "m", found, "multilabel", ("road",))
    result = evaluate(masks, store_truth(tmp_path / "t", truth))
    assert result.classes["road"].dice == pytest.approx(dice(truth == 1, found == 1))


def test_perfect_masks_and_absent_classes(tmp_path):
    truth = labels((20, 20), 2, 9)
    masks = store_masks(tmp_path / "m", truth[None])
    result = evaluate(masks, store_truth(tmp_path / "t", truth))
    assert (result.mean_dice, result.mean_iou, result.accuracy) == (1.0, 1.0, 1.0)
    assert result.classes["border"].dice is None
    told = json.loads(json.dumps(result.to_json()))
    assert told["classes"]["cell"]["dice"] == 1.0
    assert told["classes"]["border"]["dice"] is None
    assert told["missing"] == ["border"]


def test_a_truth_of_one_class_gives_no_mean(tmp_path):
    truth = np.where(labels((20, 20), 2, 9) > 0, 255, 0).astype("uint8")  # 255 was meant as "cell"
    found = np.zeros((1, 20, 20), "uint8")
    found[0, :3] = 1
    result = evaluate(store_masks(tmp_path / "m", found), store_truth(tmp_path / "t", truth))
    assert (result.mean_dice, result.mean_iou, result.missing) == (None, None, ("cell", "border"))
    assert result.classes["cell"].dice is None
    assert result.classes["background"].dice < 1


def test_a_truth_of_bool_is_one_of_0_and_1(tmp_path):
    truth = labels((20, 20), 2, 9)
    masks = store_masks(tmp_path / "m", truth[None])
    zarr.save_array(tmp_path / "t", truth > 0)
    assert evaluate(masks, tmp_path / "t").mean_dice == 1.0


def test_the_value_to_ignore_is_the_callers(tmp_path):
    truth = labels((20, 20), 3, 10)
    masks = store_masks(tmp_path / "m", truth[None])
    result = evaluate(masks, store_truth(tmp_path / "t", truth), ignore=0)
    assert result.ignored == (truth == 0).sum()
    assert "background" in result.classes
    assert result.classes["background"].pixels == 0


def test_of_many_classes_255_is_one(tmp_path):
    truth = np.full((9, 9), 255, "uint16")
    truth[0] = 65535
    names = tuple(f"class {i}" for i in range(300))
    masks = store_masks(tmp_path / "m", np.full((1, 9, 9), 255, "uint16"), names=names)
    result = evaluate(masks, store_truth(tmp_path / "t", truth))
    assert result.classes["class 255"].pixels == 72
    assert result.ignored == 9


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        (np.full((20, 20), 7, "uint8"), "label 7.*0 to 2"),
        (np.full((20, 20), -1, "int16"), "label -1"),
        (np.zeros((20, 21), "uint8"), r"shape \(20, 21\)"),
        (np.ones((20, 20), "float32"), "float32"),
    ],
)
def test_a_truth_that_cannot_be_compared_is_named(tmp_path, truth, says):
    masks = store_masks(tmp_path / "m", labels((1, 20, 20), 3, 0))
    with pytest.raises(InputError, match=says):
        evaluate(masks, store_truth(tmp_path / "t", truth))


def test_a_foreign_truth_is_to_be_ingested(tmp_path):
    masks = store_masks(tmp_path / "m", labels((1, 20, 20), 3, 0))
    tifffile.imwrite(tmp_path / "t.tif", labels((20, 20), 3, 0))
    with pytest.raises(InputError, match="unet-batch ingest"):
        evaluate(masks, tmp_path / "t.tif")
    with pytest.raises(MissingError, match="no such path"):
        evaluate(masks, tmp_path / "none.zarr")


def test_regression_has_no_classes(tmp_path):
    masks = store_masks(tmp_path / "m", np.zeros((1, 20, 20)), "regression", ("depth",))
    with pytest.raises(InputError, match="regression"):
        evaluate(masks, store_truth(tmp_path / "t", labels((20, 20), 3, 0)))
