"""From settings to a plan, without running anything."""

import os
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import noise, write_image, write_network
from unet_batch.engine.plans import as_json, differences
from unet_batch.errors import InputError
from unet_batch.prediction import autotuner
from unet_batch.prediction.autotuner import assume
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.estimate import Estimate
from unet_batch.prediction.plan import Plan
from unet_batch.prediction.planning import make_plan, tile_choices
from unet_batch.prediction.request import Request
from unet_batch.prediction.resources import MEMORY_SHARE, calls_at_once, network_bytes
from unet_batch.prediction.run import settled
from unet_batch.store.arrays import create_array
from unet_batch.store.layout import ArrayLayout


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    network = write_network(folder / "net.safetensors", depth=4, width=1)[0]
    return write_image(folder / "image.zarr", noise((300, 500)), "yx"), network, folder


def plan_of(world, **given):
    request = Request.open(str(world[0]), [str(world[1])], PredictConfig(device="cpu", **given))
    return make_plan(request, assume(request))


def tiles_of(world, **given):
    request = Request.open(str(world[0]), [str(world[1])], PredictConfig(device="cpu", **given))
    return tile_choices(request, (304, 512))


def test_the_papers_tile(world):
    plan = plan_of(world, tile=384, block=384)
    assert plan.input_shape[2:] == (572, 572)
    assert plan.grid.before == (92, 92)
    assert plan.grid.after == (96, 96)
    assert plan.exact


@pytest.mark.parametrize(("setting", "value"), [("tile", 388), ("block", 100)])
def test_steps_off_the_pooling_grid_name_the_nearest_legal(world, setting, value):
    low, high = value // 16 * 16, value // 16 * 16 + 16
    with pytest.raises(InputError, match=rf"`{setting}` {value} is not a multiple of 16.*{low} or {high}"):
        plan_of(world, **{setting: value})


def test_tiles_that_are_turned_are_squares(world):
    assert {tile[0] == tile[1] for tile in tiles_of(world, tta="turns")} == {True}
    with pytest.raises(InputError, match=r"`tta` turns: `tile` \[64, 128\] is not as high as wide"):
        plan_of(world, tta="turns", tile=(64, 128))


def test_the_hash_knows_what_decides_bytes_and_nothing_else(world):
    base = plan_of(world, block=64)
    assert plan_of(world, block=64, workers=3, packet_seconds=2, concurrency=7).hash == base.hash
    other = "fp32" if base.compute.precision == "bf16" else "bf16"
    for change in ({"border": "edge"}, {"tta": True}, {"precision": other}, {"chunk": 32}):
        assert plan_of(world, block=64, **change).hash != base.hash, change
    assert Plan.model_validate_json(base.model_dump_json()).hash == base.hash


def test_threads_are_in_the_plan_where_bytes_depend_on_them(world, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = max(2, len(os.sched_getaffinity(0)))
    for workers in (0, 1, 3):
        assert plan_of(world, backend="eager", workers=workers).compute.threads == cores
    assert plan_of(world, backend="eager", threads=1).compute.threads == 1
    assert plan_of(world, backend="openvino", threads=1).compute.threads is None
    norms = write_network(world[2] / "norms.safetensors", depth=4, width=2, norm="instance")[0]
    assert plan_of((world[0], norms), backend="openvino").compute.threads == cores
    stored = plan_of(world, backend="eager", threads=7)
    for keys, kept in (({}, 7), ({"threads": 3}, 3)):
        request = Request.open(str(world[0]), [str(world[1])], PredictConfig(device="cpu", **keys))
        assert make_plan(request, settled(request, stored)).compute.threads == kept


def test_differences_name_both_sides(world):
    ours, theirs = plan_of(world, block=64, border="edge"), plan_of(world, block=64)
    assert differences(as_json(ours), as_json(theirs)) == ["compute.border: edge, not mirror"]
    assert differences(as_json(ours), as_json(ours)) == []


def test_small_images_get_small_blocks(world):
    assert plan_of(world).grid.block == (304, 512)
    choices = tiles_of(world)
    assert choices[0] == (304, 512)
    assert all(t % 16 == 0 for tile in choices for t in tile)
    assert max(choices[-1]) <= 256


def test_a_small_region_of_a_large_image_gets_small_blocks(world, tmp_path):
    layout = ArrayLayout((40_000, 50_000), "uint8", (2048, 2048), (512, 512), names=("y", "x"))
    create_array(tmp_path / "large.zarr", layout)
    large = (tmp_path / "large.zarr", *world[1:])
    assert plan_of(large).grid.block == (2048, 2048)
    plan = plan_of(large, roi=((20_000, 21_000), (30_000, 31_000)))
    assert plan.grid.block == (512, 512)
    assert len(plan.blocks.numbers_in(plan.region)) == 9


@settings(max_examples=50)
@given(data=st.data())
def test_tiles_are_counted_as_the_grid_cuts_them(world, data):
    tile = 16 * data.draw(st.integers(1, 12))
    block = 16 * data.draw(st.integers(2, 30))
    merge = data.draw(st.sampled_from(["crop", "blend"]))
    start = data.draw(st.integers(0, 299)), data.draw(st.integers(0, 499))
    roi = tuple((a, data.draw(st.integers(a + 1, n))) for a, n in zip(start, (300, 500), strict=True))
    plan = plan_of(world, tile=tile, block=block, merge=merge, roi=roi)
    blocks = plan.blocks
    numbers = blocks.numbers_in(plan.region)
    counted = sum(len(plan.tiles.tiles(blocks.box(n))) for n in numbers)
    assert plan.tiles.count(blocks, plan.region) == counted


@pytest.mark.parametrize(
    ("shape", "tile"),
    [((4096, 4096), 2048), ((2560, 9000), 1024), ((40_000, 40_000), 2048), ((2348, 2348), 512)],
)
def test_the_tile_that_computes_least_is_assumed(world, shape, tile):
    image = world[2] / f"{shape}.zarr"
    create_array(image, ArrayLayout(shape, "uint8", (2048, 2048), (512, 512)))  # not a byte of pixels
    request = Request.open(str(image), [str(world[1])], PredictConfig(device="cpu"))
    assert assume(request).tile == (tile, tile)


def test_an_assumed_tile_leaves_every_worker_its_share_of_the_memory(world, monkeypatch):
    image = world[2] / "wide.zarr"
    create_array(image, ArrayLayout((40_000, 40_000), "uint8", (2048, 2048), (512, 512)))
    monkeypatch.setattr(autotuner, "free_memory", lambda: 512 * 2**20)
    tiles = []
    for workers in (1, 8):
        config = PredictConfig(device="cpu", precision="fp32", workers=workers)
        request = Request.open(str(image), [str(world[1])], config)
        tiles.append(assume(request).tile)
        needed = network_bytes(request.spec, assume(request), tiles[-1])
        assert workers * needed < MEMORY_SHARE * 512 * 2**20
    assert tiles[0] > tiles[1]


@pytest.mark.parametrize(
    ("blocks", "packets", "threads", "networks", "calls"),
    [
        (4, 3, 2, 9, 2),  # all packets but one
        (4, 5, 4, 9, 4),
        (5, 3, 2, 9, 1),  # two calls would leave one of two threads idle for a third of the time
        (9, 3, 2, 9, 1),
        (21, 3, 2, 9, 2),
        (6, 5, 4, 9, 2),  # four calls would take as long as eight blocks, three would leave a thread out
        (6, 9, 8, 9, 2),
        (60, 5, 3, 9, 3),
        (60, 5, 4, 2, 2),  # two networks fit
        (60, 5, 4, 0, 1),
        (60, 2, 4, 9, 1),
        (60, 1, 4, 9, 1),
        (60, 5, 1, 9, 1),
    ],
)
def test_calls_at_once_have_threads_memory_and_blocks(world, blocks, packets, threads, networks, calls):
    plan = plan_of(world, block=64, tile=64, precision="fp32", backend="openvino")
    each = network_bytes(plan.spec, plan.compute, plan.grid.tile)
    for workers in (1, 3):
        free = int(workers * (networks + 0.5) * each / MEMORY_SHARE)
        assert calls_at_once(plan, packets, threads, blocks, workers, free) == calls
    for other in ({"backend": "eager"}, {"backend": "openvino", "probabilities": True}):
        kept = plan_of(world, block=64, tile=64, precision="fp32", **other)
        free = int(2 * each / MEMORY_SHARE)  # two networks, but not what a block's probabilities take
        assert calls_at_once(kept, 5, 4, 60, 1, free) == 1


def test_an_estimate_adds_up(world):
    request = Request.open(str(world[0]), [str(world[1])], PredictConfig(device="cpu", block=64, tile=64))
    choice = assume(request)
    plan = make_plan(request, choice)
    estimate = Estimate.of(plan, request.config, choice)
    assert estimate.blocks == 5 * 8
    assert estimate.tiles == 40
    assert estimate.pixels == 300 * 500
    assert estimate.margin == pytest.approx(40 * prod(plan.input_shape[2:]) / 150_000)
    assert estimate.bytes_read == 150_000
    assert estimate.hours is None
