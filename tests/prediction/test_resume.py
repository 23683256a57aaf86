"""Stops, kills, other plans, second drivers: nothing is lost, nothing is done twice, bytes are equal."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from tests.kept import keep
from tests.worlds import noise, shard_hashes, stopper, write_image, write_network
from unet_batch.engine.progress import Hooks
from unet_batch.errors import OutputError, PlanMismatchError, StoreBusyError
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.prediction.status import status
from unet_batch.prediction.verify import verify
from unet_batch.store.journal import Status
from unet_batch.store.ledger import Ledger

SETTINGS = {"block": 32, "tile": 32, "precision": "fp32", "backend": "eager", "device": "cpu", "workers": 0}
CONFIG = PredictConfig(**SETTINGS)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    network = write_network(folder / "net.safetensors", depth=2)[0]
    image = write_image(folder / "image.zarr", noise((1, 400, 520)), "cyx")
    predict(image, folder / "whole.zarr", network, CONFIG)
    return folder, image, network, shard_hashes(folder / "whole.zarr")


def test_a_stopped_run_goes_on_where_it_was(world, tmp_path):
    _, image, network, hashes = world
    out, computed = tmp_path / "out.zarr", []
    for after in (5, 60, 10**9):
        hooks, seen = stopper(after)
        found = predict(image, out, network, CONFIG, hooks=hooks)
        computed += seen
    assert found.state == "done"
    assert sorted(computed) == list(range(found.blocks["total"]))
    assert shard_hashes(out) == hashes


def test_a_finished_store_is_left_alone(world, tmp_path):
    folder, image, network, hashes = world
    before = {f: f.stat().st_mtime_ns for f in (folder / "whole.zarr").rglob("c/**/*")}
    messages = []
    hooks = Hooks(lambda event, progress: messages.append((event, progress.message)))
    found = predict(image, folder / "whole.zarr", network, CONFIG, hooks=hooks)
    assert found.state == "done"
    assert messages == [(None, "nothing to do: every block is in the store")]
    assert before == {f: f.stat().st_mtime_ns for f in (folder / "whole.zarr").rglob("c/**/*")}
    assert shard_hashes(folder / "whole.zarr") == hashes


@pytest.mark.parametrize("backend", ["eager", "openvino"])
def test_a_store_begun_before_plans_kept_threads(world, tmp_path, backend):
    pytest.importorskip(backend if backend == "openvino" else "torch")
    _, image, network, _ = world
    config, out = CONFIG.model_copy(update={"backend": backend}), tmp_path / "out.zarr"
    predict(image, out, network, config, hooks=stopper(5)[0])
    root = json.loads((out / "zarr.json").read_text())
    compute = root["attributes"]["unet_batch"]["plan"]["compute"]
    del compute["threads"]
    compute["single_thread"] = False
    del root["attributes"]["unet_batch"]["plan_hash"]
    (out / "zarr.json").write_text(json.dumps(root))
    assert status(out).state == "incomplete"
    if backend == "eager":
        with pytest.raises(PlanMismatchError, match=r"compute.threads: \d+, not None"):
            predict(image, out, network, config)
    else:
        assert predict(image, out, network, config).state == "done"


def test_coarse_levels_that_a_kill_left_out_are_written_by_the_next_run(world, tmp_path, monkeypatch):
    from unet_batch.store.masks import Masks

    _, image, network, hashes = world
    out = tmp_path / "out.zarr"

    def killed(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Masks, "finish", killed)
    with pytest.raises(KeyboardInterrupt):
        predict(image, out, network, CONFIG)
    monkeypatch.undo()
    assert status(out).state == "incomplete"
    assert status(out).blocks["pending"] == 0
    assert not verify(out).whole
    assert predict(image, out, network, CONFIG).state == "done"
    assert verify(out).whole
    assert shard_hashes(out) == hashes


def test_automatic_settings_follow_the_store(world):
    folder, image, network, _ = world
    assert predict(image, folder / "whole.zarr", network, PredictConfig(workers=0, block=32)).state == "done"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tile": 16}, "grid.tile"),
        ({"border": "edge"}, "compute.border"),
        ({"roi": ((0, 9), (0, 9))}, "select.roi"),
    ],
)
def test_another_plan_is_refused_and_told_what_differs(world, change, named):
    folder, image, network, hashes = world
    with pytest.raises(PlanMismatchError, match=named):
        predict(image, folder / "whole.zarr", network, PredictConfig(**{**SETTINGS, **change}))
    assert shard_hashes(folder / "whole.zarr") == hashes


def test_another_network_and_another_image_are_refused(world, tmp_path):
    folder, image, network, _ = world
    other = write_network(tmp_path / "net.safetensors", seed=1, depth=2)[0]
    with pytest.raises(PlanMismatchError, match=r"model\.hashes"):
        predict(image, folder / "whole.zarr", other, CONFIG)
    changed = write_image(tmp_path / "image.zarr", noise((1, 400, 520), seed=9), "cyx")
    with pytest.raises(PlanMismatchError, match=r"image\.identity"):
        predict(changed, folder / "whole.zarr", network, CONFIG)


def test_a_second_driver_is_refused(world):
    folder, image, network, _ = world
    with Ledger.open(folder / "whole.zarr", writable=True):
        assert status(folder / "whole.zarr").state == "running"
        with pytest.raises(StoreBusyError, match=str(os.getpid())):
            predict(image, folder / "whole.zarr", network, CONFIG)
    assert status(folder / "whole.zarr").state == "done"


def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(world, tmp_path, monkeypatch):
    from unet_batch.store.masks import Masks

    _, image, network, hashes = world
    out, write, written = tmp_path / "out.zarr", Masks.write_block, []

    def failing(self, box, arrays):
        if len(written) == 7:
            raise OutputError(f"{out}: no space left on device; free some")
        written.append(box)
        return write(self, box, arrays)

    monkeypatch.setattr(Masks, "write_block", failing)
    with pytest.raises(OutputError, match="no space left"):
        predict(image, out, network, CONFIG)
    monkeypatch.undo()
    assert status(out).blocks["done"] == 7
    assert status(out).blocks["failed"] == 0
    assert predict(image, out, network, CONFIG).state == "done"
    assert shard_hashes(out) == hashes


def run_and_kill(arguments, seconds, whom="driver"):
    """Run the program; after some seconds kill its driver or one of its workers. Exit code, errors, whether
    something was killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "unet_batch", "predict", *arguments, "--quiet"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    killed = False
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        killed = kill_worker(process.pid) if whom == "worker" else not process.kill()
    _, errors = process.communicate(timeout=600)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, errors.decode(), killed


def kill_worker(driver):
    """SIGKILL to one worker process of a driver, if it has one by now."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(driver).children(recursive=True):
            if any("spawn_main" in word for word in child.cmdline()):
                child.kill()
                return True
    return False


def campaign(world, folder, kills, seed):
    """Kill runs at random moments until ``kills`` have happened, then finish; what was found.

    A killed driver leaves its store to the next run; a killed worker is the run's own business, which ends
    as if nothing had happened.
    """
    _, image, network, hashes = world
    rng, out = random.Random(seed), folder / "out.zarr"
    counts = {"kills": 0, "of_drivers": 0, "of_workers": 0, "stores": 0}
    arguments = [str(image), str(out), "--model", str(network)]
    for key, value in {**SETTINGS, "workers": 2, "packet_seconds": 0.05}.items():
        arguments += ["--set", f"{key}={value}"]
    while counts["kills"] < kills:
        before, whom = done_blocks(out), rng.choice(["driver", "worker"])
        code, errors, killed = run_and_kill(arguments, rng.uniform(2.5, 6.5), whom)
        counts["kills"] += killed
        counts[f"of_{whom}s"] += killed
        assert code in ((0, -signal.SIGKILL) if whom == "driver" else (0,)), errors
        assert before <= done_blocks(out), "a finished block was lost"
        if code == 0:
            assert "Traceback" not in errors
            counts["stores"] += 1
            check_whole(out, hashes)
            shutil.rmtree(out)
    code, errors, _ = run_and_kill(arguments, 240)
    assert code == 0, errors
    check_whole(out, hashes)
    return counts


def done_blocks(out):
    if not (out / "ledger" / "zarr.json").exists():
        return set()
    return {tuple(map(int, index)) for index in Ledger.open(out).with_status(Status.DONE)}


def check_whole(out, hashes):
    found = status(out)
    assert found.state == "done"
    assert shard_hashes(out) == hashes
    # One journal and ledger entry a block, whatever the number of runs: none was computed after it was done.
    assert sum(found.class_pixels.values()) == found.pixels


@pytest.mark.timeout(1200)  # some 20 s, but as many minutes where others want the cores
def test_killed_drivers_and_workers(world, tmp_path):
    counts = campaign(world, tmp_path, kills=4, seed=1)
    assert min(counts["of_drivers"], counts["of_workers"]) >= 1


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_fifty_kills(world, tmp_path):
    began = time.monotonic()
    counts = campaign(world, tmp_path, kills=50, seed=2)
    keep("kills", **counts, bytes_equal=True, seconds=round(time.monotonic() - began))
