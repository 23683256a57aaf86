"""Many images with one pool: largest first, each its own store, a bad one told of and passed over."""

import json

import pytest

from tests.cli.program import SERIAL, call, settings
from tests.worlds import noise, shard_hashes, write_image, write_network
from unet_batch.errors import CheckpointError, InputError, MissingError
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.many import Watch, _stores, found_in, predict_many
from unet_batch.prediction.run import predict

PLAIN = {
    "workers": 0,
    "block": 64,
    "tile": 32,
    "batch": 1,
    "backend": "eager",
    "precision": "fp32",
    "threads": 2,
}
SIDES = {"small": 40, "large": 150, "middle": 90, "broken": 120}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("net") / "net.safetensors", depth=1, width=2)[0]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for number, (name, side) in enumerate(SIDES.items()):
        write_image(folder / f"{name}.ome.zarr", noise((1, side, side), seed=number), "cyx")
    (folder / "broken.ome.zarr" / "zarr.json").write_text("{")
    (folder / "notes.md").write_text("not an image")
    return folder


@pytest.mark.parametrize("workers", [0, 1])
def test_all_but_the_broken_one_are_done_largest_first(tmp_path, images, network, workers):
    config = PredictConfig(**{**PLAIN, "workers": workers})
    begun = []
    watch = Watch(lambda image, event, progress: begun.append(image) if event else None)
    outcomes = predict_many([images], tmp_path / "out", network, config, watch=watch)
    assert [(o.out.rpartition("/")[2], o.state) for o in outcomes] == [
        ("large.zarr", "done"),
        ("middle.zarr", "done"),
        ("small.zarr", "done"),
        ("broken.zarr", "refused"),
    ]
    assert "broken.ome.zarr" in outcomes[-1].error
    assert list(dict.fromkeys(begun)) == [outcome.image for outcome in outcomes[:-1]]
    alone = tmp_path / "alone.zarr"
    predict(images / "middle.ome.zarr", alone, network, PredictConfig(**PLAIN))
    assert shard_hashes(alone) == shard_hashes(tmp_path / "out" / "middle.zarr")


def test_the_network_is_made_ready_once(tmp_path, images, network, monkeypatch):
    from unet_batch.prediction import networks

    ready, prepare = [], networks.devices.prepare

    def noted(*arguments):
        ready.append(arguments)
        return prepare(*arguments)

    monkeypatch.setattr(networks.devices, "prepare", noted)
    networks._ready.clear()
    predict_many([images], tmp_path / "out", network, PredictConfig(**PLAIN))
    assert len(ready) == 1


def test_a_stop_leaves_the_rest_for_the_next_call(tmp_path, images, network):
    seen = []
    watch = Watch(lambda image, event, progress: seen.append(event), stop=lambda: any(seen))
    states = [
        o.state
        for o in predict_many([images], tmp_path / "out", network, PredictConfig(**PLAIN), watch=watch)
    ]
    assert states == ["incomplete", "waiting", "waiting", "waiting"]
    states = [o.state for o in predict_many([images], tmp_path / "out", network, PredictConfig(**PLAIN))]
    assert states == ["done", "done", "done", "refused"]


def test_places_are_stores_folders_and_lists(tmp_path, images):
    listed = tmp_path / "list.txt"
    listed.write_text(f"# these\n{images}/small.ome.zarr\n\n{images}/none.zarr\n")
    found = found_in([images / "large.ome.zarr", listed, images / "small.ome.zarr"])
    assert found == [f"{images}/{name}" for name in ("large.ome.zarr", "small.ome.zarr", "none.zarr")]
    assert len(found_in([images])) == 4
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in it that are read"):
        found_in([tmp_path / "empty"])
    with pytest.raises(MissingError, match="no such image, folder or list"):
        found_in([tmp_path / "nothing"])


def test_what_concerns_all_is_refused_before_anything_is_made(tmp_path, images, network):
    config, out = PredictConfig(**PLAIN), tmp_path / "out"
    with pytest.raises(InputError, match="would have the same store"):
        predict_many([images / "small.ome.zarr", f"{images}/../images/small.ome.zarr"], out, network)
    with pytest.raises((CheckpointError, MissingError)):
        predict_many([images], out, tmp_path / "no.safetensors", config)
    write_image(tmp_path / "a.zarr", noise((1, 40, 40)), "cyx")
    with pytest.raises(InputError, match="its masks would replace it"):
        predict_many([tmp_path / "a.zarr"], tmp_path, network, config)
    assert not out.exists()


def test_images_of_one_name_are_known_by_their_folders(tmp_path):
    stores = _stores(["case1/image.zarr", "case2/image.zarr", "case2/other.zarr"], tmp_path)
    assert [path.removeprefix(f"{tmp_path}/") for path in stores.values()] == [
        "case1.zarr",
        "case2.zarr",
        "other.zarr",
    ]


def test_the_command_line_ends_with_a_table(images, network, tmp_path):
    words = ("predict-many", images, "--out-dir", tmp_path / "out", "--model", network)
    using = [item for item in SERIAL if not item.startswith(("block", "tile"))]
    answer = call(*words, "--quiet", *settings(*using, "block=64"))
    assert answer.code == 3
    assert [line.split()[:2] for line in answer.out.splitlines()[1:]] == [
        ["large.ome.zarr", "done"],
        ["middle.ome.zarr", "done"],
        ["small.ome.zarr", "done"],
        ["broken.ome.zarr", "refused"],
    ]
    again = call(*words, "--quiet", "--json", *settings(*using, "block=64"))
    assert [row["state"] for row in json.loads(again.out)] == ["done", "done", "done", "refused"]
