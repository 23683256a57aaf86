"""Doctor: a tiny job on two nodes, and what its answers mean: pass, warn or fail, each with its cure."""

import fcntl
import json
import platform
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from unet_batch.cluster.slurm import programs
from unet_batch.cluster.slurm.command import Task
from unet_batch.cluster.slurm.config import SlurmConfig
from unet_batch.cluster.slurm.jobs import last_error
from unet_batch.cluster.slurm.probe import LOCK, TOKEN, clock_offset
from unet_batch.cluster.slurm.submit import Submitted, draft, submit
from unet_batch.errors import UnetBatchError

SKEW_SECONDS = 2.0
POLL_SECONDS = 0.5
Verdict = Literal["pass", "warn", "fail"]
Answers = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    what: str
    verdict: Verdict
    told: str
    cure: str = ""


def examine(config: SlurmConfig, where: str = "the settings", wait: float = 300.0) -> Iterator[Finding]:
    """Findings as they come.

    Args:
        config: of the cluster.
        where: what a refusal names as the place of the settings.
        wait: seconds that the job may take, the queue included.

    Raises:
        ClusterError: no SLURM here.
    """
    yield Finding("SLURM", "pass", programs.run(["sinfo", "--version"]).strip())
    partitions = _partitions()
    yield _judge_partition(config, partitions)
    nodes = 1 if len(set(programs.run(["sinfo", "--noheader", "--Node", "--format=%N"]).split())) < 2 else 2
    try:
        chosen = draft(
            Task("doctor", (), "doctor", "unet-batch cluster doctor", "doctor"), _small(config, nodes)
        )
        done = submit(chosen, where)
    except UnetBatchError as error:
        yield Finding("job", "fail", str(error), "mend the setting that it names")
        return
    yield from _follow(done, config, nodes, wait)


def _small(config: SlurmConfig, nodes: int) -> SlurmConfig:
    """The same settings, but one task on each of two nodes for some minutes."""
    gpus = (
        {} if config.gpus is None and config.gpus_per_node is None else {"gpus": None, "gpus_per_task": "1"}
    )
    small = {"nodes": nodes, "tasks": nodes, "tasks_per_node": 1, "gpus_per_node": None, "time": "10"}
    return config.model_copy(update={**small, **gpus, "cpus_per_task": 1, "requeues": 0})


def _follow(done: Submitted, config: SlurmConfig, nodes: int, wait: float) -> Iterator[Finding]:
    token, began = secrets.token_hex(8), time.monotonic()
    (done.folder / TOKEN).write_text(token)
    with (done.folder / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        while (state := _state(done)) is not None and time.monotonic() - began < wait:
            time.sleep(POLL_SECONDS)
    if state is not None:
        programs.run(["scancel", str(done.driver)])
        yield Finding(
            "job",
            "fail",
            f"{state} after {wait:.0f} s",
            "give --wait more seconds, or ask for less; see squeue",
        )
        return
    answers = [json.loads(path.read_text()) for path in sorted(done.folder.glob("node-*.json"))]
    if len(answers) < nodes:
        told = last_error(done.log) or f"{len(answers)} of {nodes} nodes answered"
        cure = f"read {done.log}; the nodes must see {done.folder} and start {config.python or 'this python'}"
        yield Finding("job", "fail", told, cure)
        return
    hosts = ", ".join(answer["host"] for answer in answers)
    yield Finding("job", "pass", f"ran on {hosts} within {time.monotonic() - began:.0f} s of its submission")
    here = clock_offset(done.folder, "login")
    for judge in (_judge_folder(token), _judge_locks, _judge_clock(here), _judge_network(config)):
        yield judge(answers)
    yield from _judge_software(answers, config)


def _state(done: Submitted) -> str | None:
    """``PENDING (Resources)`` and so on; None once the job has ended."""
    found = programs.my_jobs(of=[done.driver])
    return f"{found[0].state} ({found[0].reason})" if found else None


def _partitions() -> dict[str, str]:
    rows = programs.run(["sinfo", "--noheader", "--format=%R|%a|%D|%G|%l"]).splitlines()
    parts = [row.split("|") for row in rows]
    return {part[0]: f"{part[2]} nodes, {part[3]}, {part[4]}" for part in parts if len(part) == 5}


def _judge_partition(config: SlurmConfig, known: Mapping[str, str]) -> Finding:
    told = "; ".join(f"{name} ({text})" for name, text in known.items())
    asked = config.partition.split(",") if config.partition else []
    if lacking := [name for name in asked if name not in known]:
        return Finding("partitions", "fail", f"no {', '.join(lacking)}; there are {told}", "set `partition`")
    return Finding("partitions", "pass", told)


def _judge_folder(token: str) -> Callable[[Answers], Finding]:
    def judge(answers: Answers) -> Finding:
        blind = [answer["host"] for answer in answers if answer["token"] != token]
        if blind:
            told = f"{', '.join(blind)} do not see what is written here"
            return Finding(
                "shared folder", "fail", told, "set `folder` to a file system that all nodes share"
            )
        return Finding("shared folder", "pass", "written here and read there, renamed there and read here")

    return judge


def _judge_locks(answers: Answers) -> Finding:
    if all(answer.get("lock_holds") for answer in answers):
        return Finding("file locks", "pass", "a lock taken here holds on the nodes")
    told = "a lock taken here does not hold on the nodes: two drivers could write one store"
    cure = "mount that file system with flock (Lustre: -o flock), or start one driver at a time"
    return Finding("file locks", "warn", told, cure)


def _judge_clock(here: float) -> Callable[[Answers], Finding]:
    def judge(answers: Answers) -> Finding:
        skew = max(abs(answer["clock"] - here) for answer in answers)
        verdict: Verdict = "pass" if skew < SKEW_SECONDS else "warn"
        cure = (
            "" if verdict == "pass" else "have the site run NTP; times in logs and certificates will disagree"
        )
        return Finding("clocks", verdict, f"differ by {skew:.1f} s", cure)

    return judge


def _judge_network(config: SlurmConfig) -> Callable[[Answers], Finding]:
    def judge(answers: Answers) -> Finding:
        faults = [f"{answer['host']}: {answer['error']}" for answer in answers if "meeting" not in answer]
        names = ", ".join(f"{name} {address}" for name, address in answers[0]["addresses"].items())
        if faults:
            cure = f"set `interface` to one of: {names}; or `port` to one that the site leaves open"
            return Finding("network", "fail", "; ".join(faults), cure)
        ways = config.interface or "the default route"
        return Finding("network", "pass", f"nodes reach {answers[0]['meeting']} by {ways}; there are {names}")

    return judge


def _judge_software(answers: Answers, config: SlurmConfig) -> Iterator[Finding]:
    ours = {"python": platform.python_version(), "unet_batch": version("unet-batch")}
    other = {
        f"{k} {a.get(k)} on {a['host']}" for a in answers for k in ours if a.get(k) not in (None, ours[k])
    }
    told = ", ".join(f"{key} {value}" for key, value in ours.items())
    cure = "set `python` or `site` so that nodes start this environment"
    yield Finding(
        "python", "warn" if other else "pass", ", ".join(sorted(other)) or told, cure if other else ""
    )
    asked = any((config.gpus, config.gpus_per_node, config.gpus_per_task, config.gres))
    yield _judge_gpus(answers, asked=asked)
    for backend in ("gloo", "nccl"):
        if results := [answer.get(backend) for answer in answers if backend in answer]:
            expected = len(answers) * (len(answers) + 1) / 2
            if all(result == expected for result in results):
                yield Finding(f"all-reduce ({backend})", "pass", f"{len(answers)} nodes add up a number")
            else:
                told = "; ".join(str(result) for result in results if result != expected)
                yield Finding(
                    f"all-reduce ({backend})", "fail", told, "set `interface` to the nodes' fast network"
                )


def _judge_gpus(answers: Answers, *, asked: bool) -> Finding:
    first = answers[0]
    build = f"torch {first.get('torch')} for {'CUDA ' + first['cuda'] if first.get('cuda') else 'CPUs'}"
    if "torch" not in first:
        return Finding(
            "torch", "fail", first.get("torch_error", "did not answer"), "install torch in that environment"
        )
    if not asked:
        return Finding("torch", "pass", f"{build}; no GPU is asked for")
    lacking = [answer["host"] for answer in answers if not answer.get("gpus")]
    if not lacking:
        return Finding("torch", "pass", f"{build}; {first['gpus'][0]}, driver {first['driver']}")
    if first.get("cuda") is None:
        return Finding("torch", "fail", f"{build}, but GPUs are asked for", "install a CUDA build of torch")
    driver = f"driver {first['driver']}" if first["driver"] else "no nvidia-smi"
    told = f"{build}; torch finds no GPU on {', '.join(lacking)} ({driver})"
    return Finding(
        "torch",
        "fail",
        told,
        "ask for GPUs as the site wants it (`gpus_per_task` or `gres`); check the driver",
    )
