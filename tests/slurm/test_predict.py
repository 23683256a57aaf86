"""Predictions on a real SLURM: fixed, elastic, stopped and gone on, many images. Bytes as of a local run."""

import pytest

from tests.cli.program import call, settings
from tests.slurm.conftest import FIXED
from tests.worlds import noise, shard_hashes, write_image

NETWORK = ("--model", "net.safetensors", *settings(*FIXED))
TASKS = ("--tasks", "2", "--nodes", "2", "--slurm", "gpus_per_task=1")

pytestmark = pytest.mark.timeout(1800)  # a crowded machine; each wait has its own limit


def test_one_allocation_gives_the_bytes_of_a_local_run(desk, world):
    job = desk.job("predict", "image.zarr", "out.zarr", *NETWORK, *TASKS)
    assert desk.ended(job) == "COMPLETED", desk.logs()
    assert shard_hashes(desk.folder / "out.zarr") == shard_hashes(world / "whole.zarr")
    told = desk.jobs()[job]
    assert (told["state"], told["progress"]) == ("done", 1.0)
    assert "tls://" in call("logs", job, "--folder", "jobs").out
    assert not list(desk.folder.glob("jobs/*/scheduler-*")), "neither address nor key outlives the job"
    found = call("status", "out.zarr", "--json").json
    assert (found["state"], found["jobs"]) == ("done", [])


def test_elastic_workers_join_and_the_last_ends_the_array(desk, world):
    elastic = ("--elastic", "5", "--slurm", "throttle=2", "--slurm", "gpus=1")
    answer = desk.submit("predict", "image.zarr", "out.zarr", *NETWORK, *elastic).json
    assert desk.ended(answer["job"]) == "COMPLETED", desk.logs()
    assert shard_hashes(desk.folder / "out.zarr") == shard_hashes(world / "whole.zarr")
    alive = ("squeue", "--noheader", f"--jobs={answer['workers']}")
    desk.until(lambda: not desk.machines.run(*alive).strip())


def test_a_job_that_is_warned_of_its_limit_goes_on_after_it(desk, world):
    slow = settings("packet_seconds=0.2")
    job = desk.job("predict", "image.zarr", "out.zarr", *NETWORK, *slow, "--tasks", "1")
    done = desk.folder / "out.zarr" / "0" / "c"
    desk.until(lambda: desk.state(job) == "RUNNING" and len(list(done.glob("*/*"))) > 3)
    desk.machines.run("scancel", "--signal=USR1", "--batch", str(job))  # as SLURM does ahead of the limit
    desk.until(lambda: "Restarts=1" in desk.machines.run("scontrol", "show", "job", str(job)))
    before = call("status", "out.zarr", "--json").json["blocks"]
    assert 0 < before["done"] < before["total"]
    assert desk.ended(job) == "COMPLETED", desk.logs()
    assert "USR1 has come" in desk.logs()
    assert "resuming" in desk.logs()
    assert shard_hashes(desk.folder / "out.zarr") == shard_hashes(world / "whole.zarr")
    assert call("status", "out.zarr", "--json").json["blocks"]["failed"] == 0


def test_a_cancelled_job_does_not_come_back(desk):
    job = desk.job("predict", "image.zarr", "out.zarr", *NETWORK, "--tasks", "1")
    desk.until(lambda: desk.state(job) == "RUNNING" and list(desk.folder.glob("jobs/*/scheduler-*.json")))
    assert call("cancel", job, "--folder", "jobs").out == f"cancelled {job}\n"
    assert desk.ended(job) == "CANCELLED"
    assert "Restarts=0" in desk.machines.run("scontrol", "show", "job", str(job))


def test_twelve_images_in_one_allocation_and_one_of_them_is_broken(desk):
    names = [f"{number}.zarr" for number in range(12)]
    for number, name in enumerate(names):
        side = 60 + 10 * number
        write_image(desk.folder / "images" / name, noise((1, side, side), seed=number), "cyx")
    (desk.folder / "images" / "7.zarr" / "zarr.json").write_text("{")
    words = ("predict-many", "images", "--out-dir", "masks", "--model", "net.safetensors")
    job = desk.job(*words, *settings(*FIXED), "--tasks", "2")
    assert desk.ended(job) == "FAILED", desk.logs()
    assert "ExitCode=3:0" in desk.machines.run("scontrol", "show", "job", str(job))
    whole = [name for name in names if name != "7.zarr"]
    assert {call("status", f"masks/{name}", "--json").json["state"] for name in whole} == {"done"}
    lines = [line.split() for line in call("logs", job, "--folder", "jobs", "-n", 0).out.splitlines()]
    table = [words[:2] for words in lines if len(words) > 1 and words[0] in names]
    assert table == [*([name, "done"] for name in reversed(whole)), ["7.zarr", "refused"]]
    told = desk.jobs()[job]
    assert (told["state"], told["comment"]) == ("failed", "unet-batch predict-many images -> masks")
