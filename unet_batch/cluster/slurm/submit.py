"""Submit: a task becomes a job, or a driver with an array of workers; a refused one leaves nothing behind."""

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from unet_batch.cluster.rendezvous import write_private
from unet_batch.cluster.slurm import folder as folders
from unet_batch.cluster.slurm import programs
from unet_batch.cluster.slurm.command import Submission, Task, plain_name, submissions
from unet_batch.cluster.slurm.config import SlurmConfig
from unet_batch.cluster.slurm.files import sbatch_files
from unet_batch.cluster.slurm.jobs import writers
from unet_batch.cluster.slurm.refusal import explained
from unet_batch.errors import ClusterError, InputError, UnetBatchError


@dataclass(frozen=True, slots=True)
class Draft:
    """What submitting a task would do: the calls of sbatch and the job's folder."""

    task: Task
    config: SlurmConfig
    folder: Path
    calls: tuple[Submission, ...]


@dataclass(frozen=True, slots=True)
class Submitted:
    """Numbers of the jobs, and their folder."""

    driver: int
    workers: int | None
    folder: Path
    log: Path


def draft(task: Task, config: SlurmConfig) -> Draft:
    """What would be submitted. Touches nothing.

    Raises:
        MissingError: a site's own sbatch files are not where its settings say.
    """
    folder = folders.new_name(config.root, plain_name(task.name))
    calls = submissions(task, config, folder, sbatch_files(config.files))
    return Draft(task, config, folder, tuple(calls))


def submit(chosen: Draft, where: str = "the settings", chain: tuple[int, ...] = ()) -> Submitted:
    """Submit it.

    Args:
        chosen: what ``draft`` made.
        where: what a refusal names as the place of the settings.
        chain: the jobs before it in a workflow.

    Raises:
        ClusterError: no SLURM here.
        InputError: another job writes the same, and this one does not wait for it.
        ConfigError: SLURM refuses; its own words and the setting that they come from.
        OutputError: the job's folder cannot be made.
    """
    folder, numbers = chosen.folder, dict[str, int]()
    _refuse_a_second_writer(chosen)
    folders.make(folder)
    settings = yaml.safe_dump(chosen.config.model_dump(mode="json", exclude_defaults=True))
    write_private(folder / "settings.yaml", settings)
    try:
        for call in chosen.calls:
            words = call.call(str(numbers.get("driver", "")))
            numbers[call.role] = programs.sbatch(words, call.environment)
            write_private(folder / call.role, f"{numbers[call.role]}\n")
    except ClusterError as error:
        for number in numbers.values():
            with suppress(ClusterError):
                programs.run(["scancel", str(number)])
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, programs.RefusalError):
            raise explained(error, call.settings, where) from None
        raise
    _remember(chosen, numbers, chain)
    return Submitted(numbers["driver"], numbers.get("workers"), folder, folder / "job.out")


def submit_chain(
    tasks: Sequence[Task], config: SlurmConfig, where: str = "the settings", after: Sequence[int] = ()
) -> list[Submitted]:
    """Submit tasks that each begin once the one before has ended well; all or none.

    Raises:
        As ``submit``.
    """
    done: list[Submitted] = []
    before = tuple(after)
    for task in tasks:
        try:
            one = submit(draft(replace(task, after=before), config), where, tuple(d.driver for d in done))
        except UnetBatchError:
            for earlier in done:
                with suppress(ClusterError):
                    programs.run(
                        ["scancel", str(earlier.driver), *([str(earlier.workers)] if earlier.workers else [])]
                    )
            raise
        done.append(one)
        before = (one.driver,)
    return done


def _refuse_a_second_writer(chosen: Draft) -> None:
    """The lock of the store would hold it back; here it costs nothing to say so."""
    task = chosen.task
    others = writers(chosen.config.root, task.out) if task.out else []
    if others := [number for number in others if number not in task.after]:
        job = others[0]
        raise InputError(
            f"{task.out}: job {job} writes it; wait for it with --after {job}, "
            f"or end it with `unet-batch cancel {job}`"
        )


def _remember(chosen: Draft, numbers: dict[str, int], chain: tuple[int, ...]) -> None:
    task = chosen.task
    record = folders.Record(
        name=plain_name(task.name),
        comment=task.comment,
        cwd=str(Path.cwd()),
        submitted=time.time(),
        out=str(Path(task.out).absolute()) if task.out else None,
        jobs=numbers,
        chain=(*chain, numbers["driver"]),
        go_on=task.go_on,
    )
    record.save(chosen.folder)
    for number in numbers.values():
        folders.register(chosen.folder, number)
