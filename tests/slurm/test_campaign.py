"""Long campaigns on a real SLURM: what is promised of time limits, kills and start-up, measured and kept.

Results go to benchmarks/results/slurm.json, one key a measurement.
"""

import json
import os
import platform
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.cli.program import call, settings
from tests.worlds import noise, shard_hashes, write_image, write_network
from unet_batch.drive import history

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "slurm.json"
DECIDED = ("tile=64", "batch=1", "backend=eager", "precision=fp32", "threads=2", "block=64")
PATIENT = ("--slurm", "patience=20", "--slurm", "requeues=200")

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]


def keep(name, **values):
    """Put a measurement into the results."""
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    machine = f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}"
    found[name] = {"machine": machine, "date": time.strftime("%Y-%m-%d"), **values}
    RESULTS.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")


@pytest.fixture
def work(desk):
    """A function that makes big.zarr for about so many seconds of work, and whole.zarr by a local run."""

    def make(seconds):
        Path("net.safetensors").unlink()
        write_network(Path("net.safetensors"), depth=2, width=8)
        write_image(Path("small.zarr"), noise((1, 256, 512)), "cyx")
        assert predict_here("small.zarr", "small-out.zarr") == 0
        rate = call("status", "small-out.zarr", "--json").json["pixels_per_second"]
        side = max(512, int((rate * seconds) ** 0.5) // 64 * 64)
        write_image(Path("big.zarr"), noise((1, side, side), seed=1), "cyx")
        began = time.monotonic()
        assert predict_here("big.zarr", "whole.zarr") == 0
        return {"pixels": side * side, "local_seconds": round(time.monotonic() - began, 1)}

    return make


def predict_here(image, out):
    words = [image, out, "--model", "net.safetensors", "--quiet"]
    return call("predict", *words, *settings(*DECIDED, "workers=0")).code


def submit(desk, out, *words):
    given = ("--model", "net.safetensors", *settings(*DECIDED, "packet_seconds=1"))
    return desk.submit("predict", "big.zarr", out, *given, *PATIENT, *words).json


def restarts(desk, job):
    return int(desk.machines.run("scontrol", "show", "job", str(job)).partition("Restarts=")[2].split()[0])


def check_whole(out):
    found = call("status", out, "--json").json
    assert found["state"] == "done", found
    assert found["blocks"]["failed"] == 0
    assert shard_hashes(Path(out)) == shard_hashes(Path("whole.zarr"))
    return found


def test_a_limit_of_one_minute_on_three_minutes_of_work(desk, work):
    told = work(180)
    began = time.monotonic()
    job = submit(desk, "out.zarr", "--tasks", "1", "--slurm", "time='1'", "--slurm", "warn=20")["job"]
    assert desk.ended(job, 3600) == "COMPLETED", desk.logs()
    found, runs = check_whole("out.zarr"), history.read("out.zarr")
    counted = sum(run.blocks.get("done", 0) for run in runs)
    assert counted == found["blocks"]["total"], "what a run recorded, no other run does again"
    killed = desk.logs().count("DUE TO TIME LIMIT")
    seconds = round(time.monotonic() - began, 1)
    keep(
        "time_limit", **told, restarts=restarts(desk, job), killed_by_limit=killed, failed=0, seconds=seconds
    )
    assert restarts(desk, job) >= 2
    assert killed == 0, "it left before the limit each time"


def test_start_up(desk, work):
    work(20)
    Path("out.zarr").mkdir()
    Path("out.zarr").rmdir()
    measured = {}
    for name, words in (("fixed", ("--tasks", "4", "--nodes", "2")), ("elastic", ("--elastic", "2"))):
        submitted = time.time()
        answer = submit(desk, f"{name}.zarr", *words)
        assert desk.ended(answer["job"], 600) == "COMPLETED", desk.logs()
        check_whole(f"{name}.zarr")
        shards = [
            file.stat().st_mtime for file in Path(f"{name}.zarr", "0", "c").rglob("*") if file.is_file()
        ]
        shown = desk.machines.run("scontrol", "show", "job", str(answer["job"]))
        waited = stamp(shown, "StartTime") - stamp(shown, "SubmitTime")
        measured[name] = {
            "first_block_seconds": round(min(shards) - submitted, 1),
            "slurm_waited_seconds": waited,
        }
    keep("start_up", **measured, bytes_equal=True)


def stamp(shown, key):
    text = shown.partition(f"{key}=")[2].split()[0]
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))


@pytest.mark.parametrize("workers", ["fixed", "elastic"])
def test_ten_kills_in_random_order(desk, work, workers):
    told = work(150)
    rng, done = random.Random(workers), []
    words = (
        ("--tasks", "4", "--nodes", "2")
        if workers == "fixed"
        else ("--elastic", "3", "--slurm", "throttle=3")
    )
    answer = submit(desk, "out.zarr", "--partition", "preempt", *words)
    job, array = answer["job"], answer["workers"]
    while len(done) < 10 and desk.state(job) not in ("COMPLETED", "FAILED"):
        time.sleep(rng.uniform(6, 12))
        kind = rng.choice([kill_worker, kill_nanny, kill_slurmd, preempt, cancel_workers])
        if desk.state(job) == "RUNNING" and workers_of(desk) and kind(desk, rng, array):
            done.append(kind.__name__)
    assert desk.ended(job, 3600) == "COMPLETED", desk.logs()
    check_whole("out.zarr")
    counts = {kind: done.count(kind) for kind in sorted(set(done))}
    keep(
        f"kills_{workers}",
        **told,
        kills=counts,
        total=len(done),
        restarts=restarts(desk, job),
        failed=0,
        bytes_equal=True,
    )
    assert len(done) >= 5


def workers_of(desk):
    """Processes of workers: each nanny, and the worker that it started."""
    mine = f"SLURM_CONF={desk.machines.folder / 'slurm.conf'}"
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):
            words = process.info["cmdline"] or []
            ours = process.environ().get("SLURM_CONF") == mine.partition("=")[2]
            if ours and words[1:5] == ["-m", "unet_batch", "pool", "worker"]:
                found.append(
                    (process, [c for c in process.children() if "spawn_main" in " ".join(c.cmdline())])
                )
    return [(nanny, children) for nanny, children in found if children]


def kill_worker(desk, rng, array):
    _, children = rng.choice(workers_of(desk))
    return not os.kill(children[-1].pid, signal.SIGKILL)


def kill_nanny(desk, rng, array):
    nanny, _ = rng.choice(workers_of(desk))
    return not os.kill(nanny.pid, signal.SIGKILL)


def kill_slurmd(desk, rng, array):
    """For a moment, or for so long that SLURM gives the node up."""
    node = rng.choice(["node1", "node2"])
    desk.machines.daemons[node].kill()
    desk.machines.daemons[node].wait()
    time.sleep(rng.choice([1, desk.machines.slurmd_timeout + 20]))
    desk.machines.start_node(node)
    return True


def preempt(desk, rng, array):
    words = ("--nodes=2", "--ntasks-per-node=8", "--output=/dev/null", "--wrap=sleep 2")
    desk.machines.run("sbatch", "--parsable", "--partition=urgent", *words)
    return True


def cancel_workers(desk, rng, array):
    """TERM to the steps of the allocation, or to one worker of the array."""
    if array is None:
        job = desk.machines.run(
            "squeue", "--noheader", "--states=R", "--partition=preempt", "--format=%i"
        ).split()
        return bool(job) and not desk.machines.run("scancel", "--signal=TERM", f"{job[0]}.0")
    running = desk.machines.run(
        "squeue", "--noheader", "--states=R", f"--jobs={array}", "--format=%i"
    ).split()
    return bool(running) and not desk.machines.run("scontrol", "requeue", rng.choice(running))
