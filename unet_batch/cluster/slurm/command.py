"""Settings into sbatch's words: lists for the system, never text for a shell."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unet_batch.cluster.slurm.config import Resources, SlurmConfig

Script = Literal["predict", "worker", "run", "train", "doctor"]

# Settings and the options of sbatch that carry them.
OPTIONS = {
    "partition": "--partition",
    "account": "--account",
    "qos": "--qos",
    "constraint": "--constraint",
    "reservation": "--reservation",
    "nodes": "--nodes",
    "tasks": "--ntasks",
    "tasks_per_node": "--ntasks-per-node",
    "cpus_per_task": "--cpus-per-task",
    "gpus": "--gpus",
    "gpus_per_node": "--gpus-per-node",
    "gpus_per_task": "--gpus-per-task",
    "gres": "--gres",
    "memory": "--mem",
    "memory_per_cpu": "--mem-per-cpu",
    "memory_per_gpu": "--mem-per-gpu",
    "time": "--time",
}
# A job of one process needs no more than one task and, unless its step says so, no GPU.
POOL_ONLY = (
    "nodes",
    "tasks",
    "tasks_per_node",
    "gpus",
    "gpus_per_node",
    "gpus_per_task",
    "gres",
    "memory_per_gpu",
)
TRAIN_UNUSED = ("tasks", "gpus_per_task")
OUTPUTS = {"driver": "job.out", "workers": "worker-%a.out"}


@dataclass(frozen=True, slots=True)
class Task:
    """Work for a job.

    Attributes:
        script: which sbatch file.
        words: its arguments, as they are.
        step: name by which the settings may ask other resources for it.
        verb: what `predict.sbatch` drives: a verb or a script that takes ``--scheduler``.
        name: of the job; letters, digits and ``._-`` are kept.
        comment: what a person reads in squeue.
        out: the store that it writes; None where there is none.
        after: jobs that must have ended well before it begins.
        go_on: what to call when it failed.
    """

    script: Script
    words: tuple[str, ...]
    name: str
    comment: str
    step: str
    verb: str = "predict"
    out: str | None = None
    after: tuple[int, ...] = ()
    go_on: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """One call of sbatch.

    Attributes:
        role: what the job is to the task: ``driver`` or ``workers``.
        script: which sbatch file.
        words: of the call, but for ``follows``.
        environment: what is added to it.
        settings: what it asks for, by the names of the settings.
        follows: whether it may begin only once the driver has.
    """

    role: Literal["driver", "workers"]
    script: Script
    words: tuple[str, ...]
    environment: Mapping[str, str]
    settings: Mapping[str, object] = field(default_factory=dict)
    follows: bool = False

    def call(self, driver: str) -> list[str]:
        """The whole call, where ``driver`` is the number of the driver's job."""
        order = [f"--dependency=after:{driver}"] if self.follows else []
        return [self.words[0], *order, *self.words[1:]]


def submissions(task: Task, config: SlurmConfig, folder: Path, files: Path) -> list[Submission]:
    """The calls that bring ``task`` to run: one, or two where workers are jobs of their own."""
    asked = _asked(task, config)
    extra = _environment(task, config, asked, folder, files)
    if task.script != "predict" or config.workers == "fixed":
        return [_submission("driver", task, asked, extra, config.warn)]
    # A bare driver in the site's default partition would not be what the settings' author meant.
    shared = {key: getattr(asked, key) for key in ("partition", "account", "qos", "reservation", "time")}
    driver = Resources.model_validate({**shared, **config.driver.model_dump(exclude_unset=True)})
    workers = Task("worker", (), f"{task.name}-worker", f"{task.comment} (a worker)", "worker")
    array = f"--array=0-{config.array - 1}" + (f"%{config.throttle}" if config.throttle else "")
    single = asked.model_copy(update={"tasks": 1, "nodes": 1, "extra": (array, *asked.extra)})
    return [
        _submission("driver", task, driver, extra, config.warn),
        _submission("workers", workers, single, extra, config.warn),
    ]


def _asked(task: Task, config: SlurmConfig) -> Resources:
    """The resources of a job: what its script can use of the settings, and what its step has of its own."""
    own = config.steps.get(task.step, Resources()).model_dump(exclude_unset=True)
    unused = {"run": POOL_ONLY, "train": TRAIN_UNUSED}.get(task.script, ())
    values = {key: getattr(config, key) for key in Resources.model_fields if key not in unused}
    if task.script == "train":  # one agent a node, which starts a process for each GPU
        values["tasks_per_node"] = 1
    return Resources.model_validate({**values, **own})


def plain_name(text: str) -> str:
    """``text`` as a job's name: what SLURM, a person and a file system all read alike."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:48] or "job"


def printable(text: str) -> str:
    """``text`` in one line without control characters."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _submission(
    role: Literal["driver", "workers"], task: Task, asked: Resources, extra: Mapping[str, str], warn: int
) -> Submission:
    settings = {key: value for key in OPTIONS if (value := getattr(asked, key)) is not None}
    words = [
        "sbatch",
        "--parsable",
        "--requeue",
        "--open-mode=append",
        "--export=ALL",
        "--kill-on-invalid-dep=yes",
        f"--signal=B:USR1@{warn}",
        f"--job-name={plain_name(task.name)}",
        f"--comment={printable(task.comment)}",
        # SLURM reads % in a path in its own way; %a is the element of an array.
        f"--output={extra['UNET_BATCH_FOLDER'].replace('%', '%%')}/{OUTPUTS[role]}",
        *([f"--dependency=afterok:{':'.join(map(str, task.after))}"] if task.after else []),
        *(f"{OPTIONS[key]}={value}" for key, value in settings.items()),
        *asked.extra,
        str(Path(extra["UNET_BATCH_FILES"]) / f"{task.script}.sbatch"),
        *task.words,
    ]
    told = {**settings, **({"extra": asked.extra} if asked.extra else {})}
    return Submission(role, task.script, tuple(words), extra, told, follows=role == "workers")


def _environment(
    task: Task, config: SlurmConfig, asked: Resources, folder: Path, files: Path
) -> dict[str, str]:
    threads = asked.cpus_per_task
    words = {
        "UNET_BATCH_FOLDER": str(folder),
        "UNET_BATCH_FILES": str(files),
        "UNET_BATCH_SITE": str(Path(config.site).expanduser().absolute()) if config.site else "",
        "UNET_BATCH_SETTINGS": str(folder / "settings.yaml"),
        "UNET_BATCH_PYTHON": config.python or ("python3" if config.container else sys.executable),
        "UNET_BATCH_CONTAINER": "\n".join(config.container),
        "UNET_BATCH_REQUEUES": str(config.requeues),
        "UNET_BATCH_WARN": str(config.warn),
        "UNET_BATCH_WORKERS": config.workers,
        "UNET_BATCH_VERB": task.verb,
        "UNET_BATCH_THREADS": str(max(2, threads)) if threads else "",
        "UNET_BATCH_GO_ON": task.go_on,
        "UNET_BATCH_OUT": str(Path(task.out).absolute()) if task.out else "",
        "UNET_BATCH_INTERFACE": config.interface or "",
    }
    return {key: value for key, value in words.items() if value}
