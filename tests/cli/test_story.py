import json

import numpy as np
import pytest
import tifffile
import zarr

from tests.cli.program import SERIAL, call, listing, predict, settings
from tests.worlds import noise, shard_hashes, write_image

SOURCE = ("--image", "image.zarr", "--model", "net.safetensors", *settings("workers=0"))
VERBS = ["evaluate", "info", "ingest", "model", "plan", "predict", "schema", "status", "verify"]


@pytest.mark.parametrize("words", [[], *([verb] for verb in VERBS), ["model", "new"], ["model", "info"]])
def test_help_of_every_verb(words):
    answer = call(*words, "--help")
    assert answer.code == 0
    assert answer.out.startswith("Usage: ")
    assert set(VERBS) <= set(answer.out.split()) or words


@pytest.mark.parametrize("words", [["nope"], ["predict"], ["predict", "a", "b"], ["info", "a", "--jsn"]])
def test_usage_errors(words):
    answer = call(*words)
    assert (answer.code, answer.out) == (2, "")
    assert "Error: " in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("kind", ["ingest", "model", "predict"])
def test_schemas_are_json(kind):
    assert call("schema", kind).json["type"] == "object"


def test_ingest_and_info(desk):
    tifffile.imwrite(desk / "stack.tif", noise((2, 33, 40)), metadata={"axes": "ZYX"})
    answer = call("ingest", "stack.tif", "stack.zarr", "--json", "--set", "workers=0")
    assert (answer.code, answer.json["axes"], answer.json["shape"]) == (0, "zyx", [2, 33, 40])
    found = call("info", "stack.zarr", "--json").json
    assert (found["kind"], found["axes"], found["shape"], found["dtype"]) == (
        "Zarr",
        "zyx",
        [2, 33, 40],
        "uint8",
    )
    assert call("info", "rgb.png", "--json").json["channels"] == 3
    assert "shape: 150, 201" in call("info", "rgb.png").out


def test_a_new_network_and_what_it_says_of_itself(desk):
    answer = call("model", "new", "spec.yaml", "new.safetensors", "--set", "width=4")
    assert answer.code == 0
    found = call("model", "info", "new.safetensors", "--json").json
    assert f"{found['parameters']:,} parameters" in answer.out
    assert (found["spec"]["width"], found["margin"], found["multiple"], found["exact"]) == (4, 20, 4, True)
    assert found["legal_inputs"][:3] == [44, 48, 52]
    assert found["legal_outputs"][:3] == [4, 8, 12]
    assert "legal_rule: 4k px from 44 on" in call("model", "info", "new.safetensors").out


@pytest.mark.parametrize(
    ("preset", "parameters", "margin", "rule", "sizes"),
    [
        ("unet-2015", 31_030_658, 92, "16k + 12 px", {572: 388}),
        ("unet3d-2016", 19_069_955, 44, "8k + 4 px", {132: 44, 116: 28}),
    ],
)
def test_published_networks(desk, preset, parameters, margin, rule, sizes):
    (desk / "preset.yaml").write_text(f"preset: {preset}")
    found = call("model", "info", "preset.yaml", "--json").json
    assert (found["parameters"], found["margin"]) == (parameters, margin)
    assert sizes.items() <= dict(zip(found["legal_inputs"], found["legal_outputs"], strict=True)).items()
    text = call("model", "info", "preset.yaml").out
    assert f"{parameters:,}" in text
    assert rule in text
    assert all(str(size) in text for size in sizes)


def test_a_plan_says_what_would_be_done_and_writes_nothing(desk):
    before = listing(desk)
    words = ["plan", "image.zarr", "new.zarr", "--model", "net.safetensors", *settings(*SERIAL)]
    found = call(*words, "--json").json
    assert (found["blocks"], found["tiles"], found["exact"], found["hours"]) == (12, 35, True, None)
    assert min(found["bytes_read"], found["bytes_written"], found["worker_bytes"]) > 0
    assert found["plan_hash"] == call("status", "done.zarr", "--json").json["plan_hash"]
    text = call(*words).out
    assert "12 of 64 x 64 px" in text
    assert "equals one untiled pass" in text
    assert listing(desk) == before


def test_a_calibrated_plan_knows_the_hours(desk):
    before = listing(desk)
    words = ["plan", "image.zarr", "new.zarr", "--model", "net.safetensors", *settings(*SERIAL)]
    found = call(*words, "--calibrate", "--json").json
    assert found["hours"] > 0
    assert [one["devices"] for one in found["scenarios"]] == [1, 8, 64]
    assert {one["bound"] for one in found["scenarios"]} <= {"device", "decode", "encode", "disk"}
    assert all(min(one["stages"].values()) > 0 for one in found["scenarios"])
    text = call(*words, "--calibrate").out
    assert "64 devices: " in text
    assert "bounded by " in text
    assert listing(desk) == before


def test_status_of_a_finished_store(desk):
    found = call("status", "done.zarr", "--json").json
    assert found["state"] == "done"
    assert found["blocks"] == {"total": 12, "pending": 0, "done": 12, "skipped": 0, "failed": 0}
    assert found["pixels_per_second"] > 0
    assert len(found["plan_hash"]) == 64
    assert sum(found["class_pixels"].values()) == 150 * 201
    assert "done.zarr: done; blocks: 12 total, 12 done" in call("status", "done.zarr").out


def test_a_second_run_does_nothing_and_says_so(desk):
    before = {path: state for path, state in listing(desk).items() if "/ledger" not in path}
    answer = predict(out="done.zarr")
    assert answer.code == 0
    assert "nothing to do" in answer.err
    assert {path: state for path, state in listing(desk).items() if "/ledger" not in path} == before


def test_another_plan_is_refused_and_told_what_differs(refused):
    said = refused(predict, out="done.zarr", using=(*SERIAL, "border=edge", "tile=64"))
    assert said.startswith("done.zarr: belongs to another plan")
    assert "compute.border: edge, not mirror" in said
    assert "grid.tile: [64, 64], not [32, 32]" in said


def test_a_flipped_byte_is_found_and_mended(desk):
    before = shard_hashes(desk / "done.zarr")
    assert call("verify", "done.zarr", "--json").json["ok"]
    shard = desk / "done.zarr" / "0" / "c" / "1" / "2"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    answer = call("verify", "done.zarr", "--json")
    assert (answer.code, answer.json["ok"], answer.json["bad_blocks"]) == (3, False, [[1, 2]])
    answer = call("verify", "done.zarr", "--repair", "--json", *SOURCE)
    assert (answer.code, answer.json["ok"], answer.json["repaired"]) == (0, True, True)
    assert shard_hashes(desk / "done.zarr") == before


def test_the_difference_to_an_untiled_pass_is_kept(desk):
    found = call("verify", "done.zarr", "--untiled", 2, "--json", *SOURCE).json
    assert found["ok"]
    assert 0 <= found["untiled_max_abs_diff"] < 1e-5
    assert call("status", "done.zarr", "--json").json["untiled_max_abs_diff"] == found["untiled_max_abs_diff"]


def test_scores_of_a_store(desk, truth):
    write_image(desk / "truth.zarr", truth, "yx")
    found = call("evaluate", "done.zarr", "truth.zarr", "--json").json
    predicted = zarr.open_array(desk / "done.zarr" / "0", mode="r")[:]
    assert found["accuracy"] == pytest.approx((predicted == truth).mean())
    assert list(found["classes"]) == ["a", "b", "c"]
    assert {"dice", "iou"} <= found["classes"]["a"].keys()
    assert found["mean_iou"] < found["mean_dice"]
    same = call("evaluate", "done.zarr", "done.zarr", "--json").json
    assert (same["accuracy"], same["mean_dice"]) == (1, 1)
    assert f"accuracy {found['accuracy']:.4f}" in call("evaluate", "done.zarr", "truth.zarr").out


def test_masks_inside_the_image_open_in_other_programs(desk):
    models, io = pytest.importorskip("ome_zarr_models.v05"), pytest.importorskip("ome_zarr.io")
    reader = pytest.importorskip("ome_zarr.reader")
    extra = ("probabilities=true", "confidence=true")
    assert predict("--quiet", out="image.zarr/labels/cells", using=(*SERIAL, *extra)).code == 0
    models.Image.from_zarr(zarr.open_group(desk / "image.zarr", mode="r"))
    store = desk / "image.zarr" / "labels" / "cells"
    models.ImageLabel.from_zarr(zarr.open_group(store, mode="r"))
    for name in ("probabilities", "confidence"):
        models.Image.from_zarr(zarr.open_group(store / name, mode="r"))
    assert zarr.open_group(desk / "image.zarr" / "labels", mode="r").attrs["ome"]["labels"] == ["cells"]
    shapes = [node.data[0].shape for node in reader.Reader(io.parse_url(str(store)))() if node.data]
    assert (150, 201) in shapes
    labels = zarr.open_array(store / "0", mode="r")[:]
    np.testing.assert_array_equal(labels, zarr.open_array(desk / "done.zarr" / "0", mode="r")[:])


def test_json_lines_and_nothing_else(desk):
    answer = predict("--json-lines", out="new.zarr")
    assert (answer.code, answer.err) == (0, "")
    *progress, last = [json.loads(line) for line in answer.out.splitlines()]
    assert {line["event"] for line in progress} == {"message", "progress"}
    assert (last["event"], last["state"]) == ("status", "done")
    ends = [line for line in progress if line["event"] == "progress"][-1]
    assert (ends["blocks_done"], ends["blocks_total"]) == (12, 12)


def test_a_log_has_a_line_now_and_then(desk, monkeypatch):
    monkeypatch.setattr("unet_batch.cli.progress.LOG_EVERY", 0.0)
    lines = predict(out="new.zarr").err.splitlines()
    total = call("status", "new.zarr", "--json").json["blocks"]["total"]
    shown = [line for line in lines if line.startswith("predict ")]
    assert [line.partition(" blocks")[0] for line in shown] == [
        f"predict {n}/{total}" for n in range(1, total + 1)
    ]
    assert all(line.endswith(" left") for line in shown[:-1])


def test_json_lines_of_an_ingest(desk):
    answer = call("ingest", "rgb.png", "new.zarr", "--json-lines", "--set", "workers=0")
    lines = [json.loads(line) for line in answer.out.splitlines()]
    assert (answer.code, answer.err) == (0, "")
    assert [line["event"] for line in lines] == ["progress", "summary"]


def test_quiet_shows_no_progress(desk):
    assert predict("--quiet", out="new.zarr").err == ""
    assert call("ingest", "rgb.png", "new_image.zarr", "--quiet", "--set", "workers=0").err == ""


def test_progress_in_a_log_is_a_line(desk):
    said = predict(out="new.zarr").err
    assert "12/12 blocks" in said
    assert "\x1b" not in said
