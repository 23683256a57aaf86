"""What a store records decides neither where the program connects, nor its device, nor what it opens."""

import json
import shutil
import socket
import threading

import numpy as np
import pytest

from tests.cli.program import call, settings
from tests.worlds import noise, write_image, write_network
from unet_batch.errors import InputError, PlanMismatchError
from unet_batch.ingestion.run import ingest
from unet_batch.prediction.config import NodataMask, PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.prediction.untiled import compare_untiled
from unet_batch.prediction.verify import verify

HERE = PredictConfig(workers=0, device="cpu")
MADE = PredictConfig(block=32, tile=16, workers=0, threads=2, precision="fp32", backend="eager", device="cpu")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    network = write_network(folder / "net.safetensors", depth=1, width=2)[0]
    image = write_image(folder / "image.zarr", noise((60, 70)), "yx")
    predict(image, folder / "out.zarr", network, MADE)
    return folder, image, network


@pytest.fixture
def store(world, tmp_path):
    """A damaged one, which has blocks to repair."""
    path = shutil.copytree(world[0] / "out.zarr", tmp_path / "out.zarr")
    shard = path / "0" / "c" / "0" / "1"
    shard.write_bytes(shard.read_bytes()[:-3])
    return path


@pytest.fixture
def trap():
    """Address of a socket, and how many came to it."""
    came = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen():
            while True:
                try:
                    connection, peer = server.accept()
                    came.append(peer)
                    connection.close()
                except OSError:
                    return

        threading.Thread(target=listen, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}", came


def record(store, **changes):
    """Change what the store says of its origin; ``settings`` are added to those there."""
    file = store / "zarr.json"
    values = json.loads(file.read_text())
    provenance = values["attributes"]["unet_batch"]["provenance"]
    provenance["settings"].update(changes.pop("settings", {}))
    provenance.update(changes)
    file.write_text(json.dumps(values))


def test_no_recorded_scheduler_worker_or_device_is_used(world, store, trap):
    where, came = trap
    record(
        store,
        settings={
            "scheduler": where,
            "workers": 64,
            "device": "cuda:7",
            "scheduler_seconds": 2,
            "threads": 999,
        },
        image="/nowhere/image.zarr",
        models=["/nowhere/net.safetensors"],
    )
    _, image, network = world
    assert compare_untiled(store, 1, image=image, model=network, config=HERE).windows == 1
    assert verify(store, repair=True, image=image, model=network, config=HERE).repaired
    assert not came


def test_the_callers_scheduler_is_used(world, store, trap):
    where, came = trap
    config = PredictConfig(scheduler=where, scheduler_seconds=0.5)
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        verify(store, repair=True, image=world[1], model=world[2], config=config)
    assert came, "the trap notices who comes"


@pytest.mark.parametrize("how", [("--repair",), ("--untiled", "1")])
def test_what_is_not_given_is_asked_for_with_the_recorded_paths(world, store, trap, how):
    where, came = trap
    record(store, image=f"{where}/image.zarr\x1b[2J", settings={"scheduler": where})
    said = call("verify", store, *how).refusal
    assert "\x1b" not in said
    assert f"'{where}/image.zarr?[2J'" in said
    assert f"if you trust that, give --image '{where}/image.zarr?[2J' --model {world[2]}" in said
    record(store, image=str(world[1]))
    said = call("verify", store, *how).refusal
    cure = said.partition("if you trust that, give ")[2].split()
    assert call("verify", store, *how, *cure, *settings("workers=0")).code in {0, 3}
    assert not came


def test_an_image_is_found_around_the_store_alone(world, tmp_path):
    image = shutil.copytree(world[1], tmp_path / "plain.zarr")
    np.save(tmp_path / "i.npy", noise((60, 70)))
    ingest(tmp_path / "i.npy", tmp_path / "image.zarr")
    out = tmp_path / "image.zarr" / "labels" / "cells"
    predict(tmp_path / "image.zarr", out, world[2], MADE)
    moved = shutil.move(tmp_path / "image.zarr", tmp_path / "elsewhere.zarr")
    shard = moved / "labels" / "cells" / "0" / "c" / "0" / "1"
    shard.unlink()
    record(moved / "labels" / "cells", image=str(image))
    assert verify(moved / "labels" / "cells", repair=True, model=world[2], config=HERE).repaired


def test_others_than_the_stores_own_are_refused_before_anything_is_marked(world, store, tmp_path):
    other = write_image(tmp_path / "other.zarr", noise((60, 70), seed=3), "yx")
    before = verify(store)
    with pytest.raises(PlanMismatchError, match=r"image\.identity"):
        verify(store, repair=True, image=other, model=world[2], config=HERE)
    config = PredictConfig(workers=0, border="edge")
    with pytest.raises(PlanMismatchError, match=r"compute\.border"):
        verify(store, repair=True, image=world[1], model=world[2], config=config)
    assert verify(store) == before


def test_a_recorded_mask_of_missing_data_is_named_by_the_caller(world, tmp_path):
    mask = write_image(tmp_path / "mask.zarr", (noise((60, 70)) > 99).astype("u1"), "yx")
    told = PredictConfig(**{**MADE.model_dump(), "nodata": NodataMask(mask=str(mask))})
    predict(world[1], tmp_path / "out.zarr", world[2], told)
    source = {"image": world[1], "model": world[2]}
    with pytest.raises(InputError, match=r"told by a mask, .*mask\.zarr.*nodata\.mask=PATH"):
        compare_untiled(tmp_path / "out.zarr", 1, **source, config=HERE)
    given = PredictConfig(workers=0, nodata=NodataMask(mask=str(mask)))
    assert compare_untiled(tmp_path / "out.zarr", 1, **source, config=given).windows == 1


def test_an_images_mask_does_not_lie_outside_of_it(world, tmp_path):
    mask = write_image(tmp_path / "mask.zarr", noise((60, 70)), "yx")
    np.save(tmp_path / "i.npy", noise((60, 70)))
    ingest(tmp_path / "i.npy", tmp_path / "image.zarr")
    file = tmp_path / "image.zarr" / "zarr.json"
    values = json.loads(file.read_text())
    values["attributes"].setdefault("unet_batch", {})["nodata_mask"] = f"../{mask.name}"
    file.write_text(json.dumps(values))
    answer = call("predict", tmp_path / "image.zarr", tmp_path / "o.zarr", "--model", world[2], "--quiet")
    assert "leads out of the store" in answer.refusal


def test_neither_reports_nor_previews_open_a_recorded_image(world, tmp_path):
    store = shutil.copytree(world[0] / "out.zarr", tmp_path / "out.zarr")
    record(store, given={"scheduler": "tcp://evil:1", "border": "edge"})
    shown, page = tmp_path / "p.png", tmp_path / "p.html"
    for verb, out in (("preview", shown), ("report", page)):
        answer = call(verb, store, out)
        assert (answer.code, f"it was made from {world[1]}: if you trust that" in answer.err) == (0, True)
    assert "evil" not in page.read_text().partition("unet-batch predict ")[2].partition("</")[0]
    alone = page.read_text()
    assert not call("report", store, page, "--image", world[1]).err
    assert "data:image/jpeg" in page.read_text()
    assert "data:image/jpeg" not in alone
    assert not call("preview", world[1], store, shown).err
