# A whole training, from labelled stores to a checkpoint that prediction takes as it is.

import csv
import json
import zipfile

import numpy as np
import pytest

import unet_batch
from tests.training.run.worlds import NETWORK, Watch, config_of, values_of
from unet_batch.errors import (
    CheckpointError,
    ConfigError,
    InputError,
    PlanMismatchError,
    StoreBusyError,
    TrainingError,
)
from unet_batch.models.checkpoint import load_checkpoint, read_card, read_spec
from unet_batch.models.spec import MeanStd
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box
from unet_batch.training.files import RunFolder
from unet_batch.training.state import read_state


@pytest.fixture(scope="module")
def story(world, tmp_path_factory):
    """A run of 30 steps: its folder, result and what was watched."""
    out, watch = tmp_path_factory.mktemp("run"), Watch()
    config = config_of(
        world, out, run={"steps": 30, "ema": 0.9, "checkpoint_every": 7}, validation={"every": 10}
    )
    return out, unet_batch.train(config, hooks=watch.hooks), watch


def test_it_learns(story):
    _, result, watch = story
    assert result.finished
    assert [p.step for p in watch.steps] == list(range(1, 31))
    assert watch.losses[-1] < 0.5 * watch.losses[0]
    assert result.test["dice_disc"] > 0.8


def test_scores_come_with_the_validations(story):
    _, result, watch = story
    judged = {p.step: p.scores for p in watch.steps if p.scores}
    assert list(judged) == [10, 20, 30]
    assert judged[result.best_step] == result.validation
    assert max(s["mean_dice"] for s in judged.values()) == result.validation["mean_dice"]


def test_the_best_checkpoint_is_predicted_with_as_it_is(story, world, tmp_path):
    out, result, _ = story
    settings = unet_batch.PredictConfig(
        workers=0, device="cpu", backend="eager", precision="fp32", block=64, tile=64
    )
    unet_batch.predict(world / "image.zarr", tmp_path / "masks.zarr", out / "best.safetensors", settings)
    found = Masks.open(tmp_path / "masks.zarr").read(Box((2, 0, 0), (3, 64, 64)))[0]
    truth = unet_batch.store.image.Image.open(world / "labels.zarr").read(Box((2, 0, 0), (3, 64, 64)))[0]
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert dice == pytest.approx(result.test["dice_disc"])


def test_the_card_says_what_was_done(story, world):
    out, result, _ = story
    card = read_card(out / "best.safetensors")
    assert card["scores"] == {"validation": result.validation, "test": result.test}
    assert card["training"]["step"] == result.best_step
    assert card["data"]["test"] == [f"{world.name}/image.zarr[2:3, 0:64, 0:64]"]
    assert sum(card["data"]["labelled_pixels"].values()) == 64 * 64
    page = (out / "best.md").read_text()
    assert f"| dice_disc | {result.test['dice_disc']:.4f} |" in page


def test_the_measured_normalisation_is_in_the_checkpoint(story):
    normalisation = read_spec(story[0] / "best.safetensors").normalisation
    assert isinstance(normalisation, MeanStd)
    assert 60 < normalisation.mean[0] < 100


def test_the_history_is_kept(story):
    out, _, watch = story
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == watch.losses
    assert [row["step"] for row in rows if row["mean_dice"]] == ["10", "20", "30"]
    assert list((out / "tensorboard").glob("events.*"))


def test_pictures_and_a_sign_are_left(story):
    out = story[0]
    for name in ("curves.png", "predictions.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    done = json.loads((out / "done.json").read_text())
    assert (done["finished"], done["step"]) == (True, 30)
    assert not [path for path in out.rglob("*") if "partial" in path.name]


def test_a_finished_run_is_left_alone(story, world):
    out, result, _ = story
    before, watch = (out / "best.safetensors").read_bytes(), Watch()
    same = {"run": {"steps": 30, "ema": 0.9}, "validation": {"every": 10}}
    again = unet_batch.train(config_of(world, out, **same), hooks=watch.hooks)
    assert again == result
    assert watch.steps == []
    assert "nothing to do" in watch.messages[0]
    assert (out / "best.safetensors").read_bytes() == before


def test_a_finished_run_takes_more_steps(world, tmp_path):
    unet_batch.train(config_of(world, tmp_path, run={"steps": 4}))
    watch = Watch()
    result = unet_batch.train(config_of(world, tmp_path, run={"steps": 6}), hooks=watch.hooks)
    assert [p.step for p in watch.steps] == [5, 6]
    assert result.step == 6


FEATURES = {
    "sgd": {"optimiser": {"kind": "sgd", "learning_rate": 1e-3, "nesterov": True, "clip": 1.0}},
    "poly": {"schedule": {"kind": "poly", "warmup": 2}},
    "accumulated": {"run": {"accumulate": 2}},
    "bf16": {"run": {"precision": "bf16", "channels_last": False}},
    "recomputed": {"run": {"activation_checkpointing": True}},
    "supervised": {"run": {"deep_supervision": 1}, "model": {"spec": {**NETWORK, "depth": 2}}},
    "small_file": {"run": {"stored_as": "float16"}},
}


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_trains_and_gives_a_plain_checkpoint(world, tmp_path, name):
    sections = {key: dict(value) for key, value in FEATURES[name].items()}
    sections["run"] = {"steps": 3, **sections.get("run", {})}
    config = config_of(world, tmp_path, validation={"every": 3}, **sections)
    result = unet_batch.train(config)
    assert result.finished
    assert np.isfinite(result.validation["mean_dice"])
    network, spec = load_checkpoint(tmp_path / "best.safetensors")
    assert spec.classes == ("ground", "disc")
    assert network is not None


def source_of(world, labels, kind, stop):
    """Planes 0 to learn from, and 1 to ``stop`` to be judged by."""
    return {
        "image": str(world / "image.zarr"),
        "labels": str(world / f"{labels}.zarr"),
        "label_kind": kind,
        "train": [[[0, 1]]],
        "validation": [[[1, stop]]],
    }


def test_instances_and_membranes_are_scored(world, tmp_path):
    source = source_of(world, "numbers", "instances", 3)
    spec = {**NETWORK, "classes": ["background", "interior", "border"]}
    scores = {"every": 12, "choose": "ap50", "instances": {}, "membranes": {"membrane": "border"}}
    config = config_of(
        world,
        tmp_path,
        model={"spec": spec},
        data={"sources": [source]},
        validation=scores,
        run={"steps": 12},
    )
    found = unet_batch.train(config).validation
    assert 0 <= found["ap90"] <= found["ap50"] <= 1
    assert found["rand_error"] == pytest.approx(1 - found["v_rand"], abs=0.02)
    assert found["membrane_threshold"] in config.validation.membranes.thresholds


@pytest.mark.parametrize(("kind", "score"), [("l2", "pearson"), ("ssim", "ssim")])
def test_regression_learns_values(world, tmp_path, kind, score):
    source = source_of(world, "values", "regression", 2)
    spec = {**NETWORK, "classes": ["value"], "head": "regression"}
    config = config_of(
        world,
        tmp_path,
        model={"spec": spec},
        data={"sources": [source]},
        objective={"kind": kind, "data_range": 2.0},
        validation={"every": 40, "choose": score},
        run={"steps": 40},
    )
    assert unet_batch.train(config).validation[score] > 0.5


def test_fine_tuning_loads_what_fits_and_names_the_rest(story, world, tmp_path):
    watch = Watch()
    spec = {**NETWORK, "classes": ["ground", "disc", "rim"]}
    start = {"spec": spec, "from": str(story[0] / "best.safetensors")}
    rims = {**values_of(world, tmp_path)["data"]["sources"][0], "remap": {1: 2}}
    config = config_of(world, tmp_path, model=start, data={"sources": [rims]}, run={"steps": 1})
    unet_batch.train(config, hooks=watch.hooks)
    note = watch.messages[0]
    assert "tensors loaded; begun anew: head.weight [3, 4, 1, 1], there [2, 4, 1, 1], head.bias [3]" in note


def test_fine_tuning_takes_the_checkpoints_own_spec(story, world, tmp_path):
    watch = Watch()
    start = {"spec": None, "from": str(story[0] / "best.safetensors")}
    unet_batch.train(config_of(world, tmp_path, model=start, run={"steps": 2}), hooks=watch.hooks)
    assert "begun anew" not in watch.messages[0]
    assert watch.losses[0] < 0.5 * story[2].losses[0]


def refusal(error, config, **sections):
    with pytest.raises(error) as caught:
        unet_batch.train(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_checkpoint_of_which_nothing_fits_is_refused(story, world, tmp_path):
    start = {"spec": {**NETWORK, "width": 6}, "from": str(story[0] / "best.safetensors")}
    assert "no weight of it fits" in refusal(CheckpointError, config_of(world, tmp_path, model=start))


def test_a_state_of_another_network_is_refused(story, world):
    out = story[0]
    (out / "done.json").rename(out / "kept.json")
    config = config_of(world, out, model={"spec": {**NETWORK, "width": 6}}, run={"steps": 30})
    message = refusal(PlanMismatchError, config)
    (out / "kept.json").rename(out / "done.json")
    assert "state.pt: belongs to another training (model.spec.width is 6, there 4)" in message


def test_a_state_of_another_optimiser_is_refused(world, tmp_path):
    unet_batch.train(config_of(world, tmp_path, run={"steps": 1}))
    config = config_of(world, tmp_path, optimiser={"kind": "sgd"}, run={"steps": 2})
    assert "optimiser.kind is sgd, there adamw" in refusal(PlanMismatchError, config)


def test_a_damaged_state_is_refused(world, tmp_path):
    unet_batch.train(config_of(world, tmp_path, run={"steps": 1}))
    state = RunFolder(tmp_path).state
    state.write_bytes(state.read_bytes()[:1000])
    assert "not a state that can be read" in refusal(
        CheckpointError, config_of(world, tmp_path, run={"steps": 2})
    )


def test_no_flipped_bit_of_a_state_is_taken(world, tmp_path):
    unet_batch.train(config_of(world, tmp_path, run={"steps": 1}))
    path = RunFolder(tmp_path).state
    data, before = path.read_bytes(), read_state(path)
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    first = largest.header_offset + 200
    for place in range(first, first + largest.file_size // 2, largest.file_size // 30):
        path.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
        with pytest.raises(CheckpointError, match="is damaged"):
            read_state(path)
    path.write_bytes(data)
    assert read_state(path).state == before.state


def test_a_folder_in_use_is_refused(world, tmp_path):
    with RunFolder(tmp_path).held():
        assert str(tmp_path) in refusal(StoreBusyError, config_of(world, tmp_path))


BAD = {
    "choose": ({"validation": {"choose": "dice_dics"}}, ConfigError, "no score dice_dics"),
    "membrane": ({"validation": {"membranes": {"membrane": "wall"}}}, ConfigError, "wall is no class"),
    "objective": ({"objective": {"kind": "l1"}}, ConfigError, "does not fit"),
    "supervision": ({"run": {"deep_supervision": 3}}, ConfigError, "deep_supervision: 3 levels"),
    "device": ({"run": {"device": "cuda:77"}}, InputError, "cuda:77"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_settings_are_one_line(world, tmp_path, name):
    sections, error, message = BAD[name]
    sections = {key: dict(value) for key, value in sections.items()}
    assert message in refusal(error, config_of(world, tmp_path, **sections))
    assert not RunFolder(tmp_path).state.exists()


def test_losses_that_are_no_numbers_end_in_an_error_that_names_the_boxes(world, tmp_path):
    watch = Watch()
    config = config_of(
        world,
        tmp_path,
        optimiser={"kind": "sgd", "learning_rate": 1e30},
        run={"most_skipped": 3, "steps": 50},
    )
    with pytest.raises(TrainingError, match=r"not finite 3 steps in a row, last over .*image.zarr\[0:1, "):
        unet_batch.train(config, hooks=watch.hooks)
    assert len([m for m in watch.messages if "skipped" in m]) >= 3
