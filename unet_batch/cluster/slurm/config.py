"""What configs/cluster/*.yaml may say: what jobs ask of SLURM, and what they do on the way."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from unet_batch.cluster.config import PoolConfig
from unet_batch.config import Config

TIME = r"UNLIMITED|\d+|\d+:\d{1,2}|\d+:\d{1,2}:\d{1,2}|\d+-\d{1,2}(:\d{1,2}){0,2}"


def _plain(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError(f"{text!r} is empty or has control characters; write plain text")
    return text


def _quoted_time(value: object) -> object:
    """YAML reads 1:30:00 as a number of seconds and 90 as a number; which unit was meant cannot be told."""
    if isinstance(value, int):
        raise ValueError(  # noqa: TRY004 - pydantic takes no TypeError
            "a time needs quotes in YAML; write e.g. '1:30:00' (hours) or '90' (minutes)"
        )
    return value


def _slurm_time(text: str) -> str:
    if not re.fullmatch(TIME, text):
        raise ValueError(f"{text!r} is no time; write minutes, H:MM:SS or D-HH:MM:SS")
    return text


def _memory(text: str) -> str:
    if not re.fullmatch(r"\d+[KMGT]?", text):
        raise ValueError(f"{text!r} is no memory; write e.g. 16G or 500M")
    return text


def _directive(text: str) -> str:
    if not text.startswith("--"):
        raise ValueError(f"{text!r} is no directive; write one option of sbatch each, e.g. --exclusive")
    return _plain(text)


def _folder(text: str) -> str:
    if "\\" in text:
        raise ValueError(f"{text!r} has a backslash, which SLURM reads in its own way; choose another folder")
    return _plain(text)


Text = Annotated[str, AfterValidator(_plain)]
Count = Annotated[int, Field(ge=1)]
Gpus = Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v), AfterValidator(_plain)]
Memory = Annotated[
    str, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v), AfterValidator(_memory)
]
Time = Annotated[str, BeforeValidator(_quoted_time), AfterValidator(_slurm_time)]


class Resources(Config):
    """What a job asks of SLURM; None leaves it to the site's default. Names follow sbatch's options.

    Attributes:
        partition: one or more, by comma.
        tasks: worker processes in all.
        gpus: in all; ``2`` or ``a100:2``. Likewise for each node and each task.
        gres: generic resources of each node, for sites without the GPU options; e.g. ``gpu:a100:4``.
        memory: of each node. ``memory_per_cpu`` and ``memory_per_gpu`` are other ways to say it.
        time: limit of one start, not of the whole work: '90' (minutes), '12:00:00' or '2-00:00:00'.
        extra: options of sbatch, word for word, behind all others.
    """

    partition: Text | None = None
    account: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None
    reservation: Text | None = None
    nodes: Count | None = None
    tasks: Count | None = None
    tasks_per_node: Count | None = None
    cpus_per_task: Count | None = None
    gpus: Gpus | None = None
    gpus_per_node: Gpus | None = None
    gpus_per_task: Gpus | None = None
    gres: Text | None = None
    memory: Memory | None = None
    memory_per_cpu: Memory | None = None
    memory_per_gpu: Memory | None = None
    time: Time | None = None
    extra: tuple[Annotated[str, AfterValidator(_directive)], ...] = ()

    @model_validator(mode="after")
    def _one_way_to_say_memory(self) -> Self:
        given = [key for key in ("memory", "memory_per_cpu", "memory_per_gpu") if getattr(self, key)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one")
        return self


class SlurmConfig(Resources, PoolConfig):
    """Jobs on a SLURM cluster: for prediction, what one allocation with all workers asks for.

    Attributes:
        workers: ``fixed``: all in one allocation; ``elastic``: a driver job of its own, and workers that are
            single jobs of an array, each of which asks for the resources above and joins as it starts.
        array: elastic workers at most.
        throttle: elastic workers at the same time at most.
        driver: resources of the elastic driver, which needs no GPU.
        steps: other resources for a verb or a workflow's step, by its name, e.g. ``ingest``; null unsets one.
        warn: seconds before its time limit at which a job begins to end.
        requeues: how often a job may put itself back into the queue.
        container: words before python on the nodes, e.g. [apptainer, exec, --nv, image.sif].
        python: interpreter on the nodes; None is the one that submits, inside a container ``python3``.
        site: shell file that each job reads first; None is site.env beside the sbatch files.
        files: folder with your copies of the sbatch files; None takes those that come with the package.
        folder: where each job has its folder with its log, scheduler file and settings; shared by all nodes.
    """

    workers: Literal["fixed", "elastic"] = "fixed"
    array: Annotated[int, Field(ge=1)] = 8
    throttle: Count | None = None
    driver: Resources = Resources(tasks=1, cpus_per_task=2)
    steps: dict[str, Resources] = Field(default_factory=dict)
    warn: Annotated[int, Field(ge=1, le=65535)] = 120
    requeues: Annotated[int, Field(ge=0)] = 20
    container: tuple[Text, ...] = ()
    python: Text | None = None
    site: Annotated[str, AfterValidator(_folder)] | None = None
    files: Annotated[str, AfterValidator(_folder)] | None = None
    folder: Annotated[str, AfterValidator(_folder)] = "~/.unet-batch/jobs"

    @model_validator(mode="after")
    def _time_for_work_before_the_warning(self) -> Self:
        if self.time is not None and (limit := seconds_of(self.time)) is not None and self.warn >= limit:
            raise ValueError(f"warn: {self.warn} s leaves no time for work in time: {self.time}; lower it")
        return self

    @property
    def root(self) -> Path:
        """``folder`` as a path."""
        return Path(self.folder).expanduser().absolute()


def seconds_of(time: str) -> int | None:
    """A time of SLURM in seconds; None has no limit."""
    if time == "UNLIMITED":
        return None
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:  # D-HH[:MM[:SS]]
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds
    if len(parts) == 3:
        return (parts[0] * 60 + parts[1]) * 60 + parts[2]
    return 60 * parts[0] + (parts[1] if len(parts) == 2 else 0)
