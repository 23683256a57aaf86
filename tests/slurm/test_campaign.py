"""Long campaigns on a real SLURM: what is promised of time limits, kills and start-up, measured and kept."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.cli.program import call, settings
from tests.kept import keep
from tests.slurm.conftest import ENDS
from tests.worlds import noise, shard_hashes, write_image, write_network
from unet_batch.engine import history

DECIDED = ("tile=128", "batch=1", "backend=eager", "precision=fp32", "threads=2", "block=128")
PATIENT = ("--slurm", "patience=20", "--slurm", "requeues=200")
TWO_BY_TWO = ("--nodes", "2", "--tasks", "4", "--slurm", "tasks_per_node=2")
EVENTS = 10  # for fixed workers, and as many for elastic ones

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]


@pytest.fixture
def work(desk):
    """A function that makes big.zarr for about so many seconds of work, and whole.zarr by a local run."""

    def make(seconds):
        Path("net.safetensors").unlink()
        write_network(Path("net.safetensors"), depth=3, width=16)
        write_image(Path("small.zarr"), noise((1, 1024, 1024)), "cyx")
        assert predict_here("small.zarr", "small-out.zarr") == 0
        rate = call("status", "small-out.zarr", "--json").json["pixels_per_second"]
        side = max(1024, int((rate * seconds) ** 0.5) // 128 * 128)
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
    """The store is done, no block failed, and its files are those of the local run."""
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
    assert killed == 0, "it left before the limit each time"
    assert restarts(desk, job) >= 2
    keep(
        "slurm",
        "time_limit",
        **told,
        restarts=restarts(desk, job),
        killed_by_limit=killed,
        failed=0,
        blocks=found["blocks"]["total"],
        blocks_recorded=counted,
        seconds=round(time.monotonic() - began, 1),
    )


def test_start_up(desk, work):
    told, measured = work(20), {}
    for name, words in (("fixed", TWO_BY_TWO), ("elastic", ("--elastic", "2"))):
        out = f"{name}.zarr"
        submitted = time.time()
        job = submit_as_a_person_does(desk, out, words)
        assert desk.ended(job, 600) == "COMPLETED", desk.logs()
        check_whole(out)
        shards = [file.stat().st_mtime for file in Path(out, "0", "c").rglob("*") if file.is_file()]
        shown = desk.machines.run("scontrol", "show", "job", str(job))
        waited = stamp(shown, "StartTime") - stamp(shown, "SubmitTime")
        first = min(shards) - submitted
        measured[name] = {
            "first_block_seconds": round(first, 1),
            "slurm_waited_seconds": waited,  # whole seconds, as SLURM tells them
            "own_seconds": round(first - waited, 1),
        }
    keep("slurm", "start_up", **told, **measured, bytes_equal=True, aim_seconds=15)


def submit_as_a_person_does(desk, out, words):
    """The job's number; by a process of its own, whose start belongs to what a person waits for."""
    given = ("--model", "net.safetensors", *settings(*DECIDED, "packet_seconds=1"), *PATIENT, *words)
    line = [sys.executable, "-m", "unet_batch", "submit", "predict", "big.zarr", out, *given, "--json"]
    line += ["--slurm", f"folder={desk.folder}/jobs"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["job"]


def stamp(shown, key):
    text = shown.partition(f"{key}=")[2].split()[0]
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))


@pytest.mark.parametrize("workers", ["fixed", "elastic"])
def test_ten_events_in_random_order(desk, work, workers):
    told, rng, done, again, mended = work(40), random.Random(workers), [], [], []
    words = TWO_BY_TWO if workers == "fixed" else ("--elastic", "40", "--slurm", "throttle=3")
    for number in range(EVENTS):  # as many stores as it takes
        out = f"out-{number}.zarr"
        answer = submit(desk, out, "--partition", "preempt", *words)
        disturb(desk, rng, answer, done, mended)
        desk.until(lambda job=answer["job"]: desk.state(job) in ENDS or mend(desk, job, mended), 3600)
        assert desk.state(answer["job"]) == "COMPLETED", desk.logs()
        check_whole(out)
        again.append(restarts(desk, answer["job"]))
        if len(done) == EVENTS:
            break
    counts = {kind: done.count(kind) for kind in sorted(set(done))}
    found = {"events": counts, "order": done, "stores": len(again), "restarts": again, "by_hand": mended}
    keep("slurm", f"events_{workers}", **told, **found, bytes_equal=True)
    assert len(done) == EVENTS


def disturb(desk, rng, answer, done, mended):
    """Until there were enough events, or the store is complete."""
    kinds = [kill_worker, kill_nanny, kill_slurmd, preempt, cancel_workers]
    while len(done) < EVENTS and desk.state(answer["job"]) not in ENDS:
        time.sleep(rng.uniform(2, 8))
        mend(desk, answer["job"], mended)
        kind = kinds[len(done) % len(kinds)] if len(done) < len(kinds) else rng.choice(kinds)
        if desk.state(answer["job"]) == "RUNNING" and workers_of(desk) and kind(desk, rng, answer):
            done.append(kind.__name__)


def mend(desk, job, mended):
    """As an operator: a slurmd that came back to living jobs has its node drained and the job held."""
    for node in ("node1", "node2"):
        if "DRAIN" in desk.machines.run("scontrol", "show", "node", node).partition("State=")[2].split()[0]:
            desk.machines.run("scontrol", "update", f"nodename={node}", "state=resume")
            mended.append(f"resumed {node}")
    if "launch_failed_requeued_held" in desk.machines.run("scontrol", "show", "job", str(job)):
        desk.machines.run("scontrol", "release", str(job))
        mended.append("released the job")


def workers_of(desk):
    """Processes of workers: each nanny, and the worker that it started."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):
            words = process.info["cmdline"] or []
            ours = process.environ().get("SLURM_CONF") == str(desk.machines.folder / "slurm.conf")
            if ours and words[1:5] == ["-m", "unet_batch", "pool", "worker"]:
                found.append(
                    (process, [c for c in process.children() if "spawn_main" in " ".join(c.cmdline())])
                )
    return [(nanny, children) for nanny, children in found if children]


def kill_worker(desk, rng, answer):
    _, children = rng.choice(workers_of(desk))
    return not os.kill(children[-1].pid, signal.SIGKILL)


def kill_nanny(desk, rng, answer):
    nanny, _ = rng.choice(workers_of(desk))
    return not os.kill(nanny.pid, signal.SIGKILL)


def kill_slurmd(desk, rng, answer):
    """For a moment, or for so long that SLURM gives the node up."""
    node = rng.choice(["node1", "node2"])
    desk.machines.daemons[node].kill()
    desk.machines.daemons[node].wait()
    time.sleep(rng.choice([1, desk.machines.slurmd_timeout + 20]))
    desk.machines.start_node(node)
    return True


def preempt(desk, rng, answer):
    words = ("--nodes=2", "--ntasks-per-node=8", "--output=/dev/null", "--wrap=sleep 2")
    desk.machines.run("sbatch", "--parsable", "--partition=urgent", *words)
    return True


def cancel_workers(desk, rng, answer):
    """scancel: of the step that holds all fixed workers, or of one worker of the array."""
    if answer["workers"] is None:
        return not desk.machines.run("scancel", f"{answer['job']}.0")
    words = ("squeue", "--noheader", "--states=R", f"--jobs={answer['workers']}", "--format=%i")
    running = desk.machines.run(*words).split()
    return bool(running) and not desk.machines.run("scancel", rng.choice(running))
