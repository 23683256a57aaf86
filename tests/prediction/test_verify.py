"""Damage is found and repaired; the difference to an untiled pass is kept in the store."""

import shutil

import pytest

from tests.worlds import noise, shard_hashes, write_image, write_network
from unet_batch.engine.progress import Hooks
from unet_batch.errors import InputError
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.prediction.status import status
from unet_batch.prediction.untiled import compare_untiled
from unet_batch.prediction.verify import verify
from unet_batch.store.masks import Masks

SERIAL = PredictConfig(workers=0, device="cpu")
CONFIG = PredictConfig(
    block=32, tile=16, workers=0, precision="fp32", backend="eager", device="cpu", probabilities=True
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    network = write_network(folder / "net.safetensors", depth=2)[0]
    image = write_image(folder / "image.zarr", noise((120, 150)), "yx")
    predict(image, folder / "out.zarr", network, CONFIG)
    return folder, image, network


@pytest.fixture
def store(world, tmp_path):
    return shutil.copytree(world[0] / "out.zarr", tmp_path / "out.zarr")


def shards(store):
    return sorted(file for file in store.rglob("c/**/*") if file.is_file() and "ledger" not in file.parts)


def test_a_whole_store_is_found_whole(store):
    counts = []
    found = verify(store, watch=lambda done, total: counts.append((done, total)))
    assert found.ok
    assert found.checked == 20
    assert counts[-1] == (20, 20)


@pytest.mark.parametrize("harm", ["flip", "cut", "delete"])
@pytest.mark.parametrize("place", ["0/c/1/2", "probabilities/0/c/0/0/3"])
def test_damage_is_found_and_repaired(world, store, harm, place):
    before, file = shard_hashes(store), store / place
    data = bytearray(file.read_bytes())
    if harm == "delete":
        file.unlink()
    else:
        data[len(data) // 2] ^= 4
        file.write_bytes(data if harm == "flip" else data[: len(data) // 2])
    index = tuple(int(n) for n in place.split("/")[-2:])
    found = verify(store)
    assert not found.ok
    assert found.bad_blocks == (index,)
    repaired = verify(store, repair=True, image=world[1], model=world[2], config=SERIAL)
    assert repaired.ok
    assert repaired.repaired
    assert shard_hashes(store) == before
    assert status(store).state == "done"


def test_every_level_is_guarded(store):
    for file in shards(store):
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert not verify(store).ok, file
        file.write_bytes(data)
    assert verify(store).ok


def test_a_coarse_level_that_is_gone_or_another_is_found_and_mended(store):
    before = shard_hashes(store)
    written = Masks.open(store).one_pass_levels
    coarse = sorted(store.glob(f"{written}/c/*/*"))
    assert coarse, "the world has levels that no block writes"
    coarse[0].unlink()
    found = verify(store)
    assert not found.ok
    assert not found.bad_blocks
    assert "is not what level" in found.bad_levels[0]
    assert verify(store, repair=True).ok
    assert shard_hashes(store) == before


def test_a_lost_block_is_done_again_by_the_same_prediction(world, store):
    before = shard_hashes(store)
    (store / "0/c/1/2").unlink()
    messages = []
    hooks = Hooks(lambda _, progress: messages.append(progress.message))
    assert predict(world[1], store, world[2], CONFIG, hooks=hooks).state == "done"
    assert "1 blocks of an earlier run are gone: they are done again" in messages
    assert shard_hashes(store) == before


def test_the_untiled_difference_is_kept(world, store):
    found = compare_untiled(store, windows=4, image=world[1], model=world[2])
    assert found.windows == 4
    assert found.untiled_max_abs_diff < 1e-5
    assert found.untiled_label_diff < 1e-3
    assert status(store).untiled_max_abs_diff == found.untiled_max_abs_diff


def test_an_inexact_network_shows_its_difference(world, tmp_path):
    network = write_network(tmp_path / "net.safetensors", depth=2, norm="instance")[0]
    predict(world[1], tmp_path / "out.zarr", network, CONFIG)
    found = compare_untiled(tmp_path / "out.zarr", windows=4, image=world[1], model=network)
    assert found.untiled_max_abs_diff > 1e-3


def test_nothing_done_yet_is_said(world, tmp_path):
    hooks = Hooks(stop=lambda: True)
    predict(world[1], tmp_path / "out.zarr", world[2], CONFIG, hooks=hooks)
    with pytest.raises(InputError, match="no block is done yet"):
        compare_untiled(tmp_path / "out.zarr", windows=1, image=world[1], model=world[2])
