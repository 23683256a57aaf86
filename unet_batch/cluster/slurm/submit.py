"""Submit: a task becomes a job, or a driver with an array of workers; a refused one leaves nothing behind.

The steps of a workflow become a chain of tasks. Its script names them in a literal, which is read without
running it.
"""

import ast
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
from unet_batch.cluster.slurm.folder import sbatch_files
from unet_batch.cluster.slurm.jobs import writers
from unet_batch.cluster.slurm.programs import explained
from unet_batch.errors import ClusterError, FormatError, InputError, MissingError, UnetBatchError, text_of

KINDS = ("run", "predict")


def steps_of(script: Path) -> dict[str, str]:
    """The steps of a workflow in their order: name and sbatch file, ``run`` or ``predict``.

    Raises:
        MissingError, FormatError: no such script, or one that names no steps.
    """
    try:
        tree = ast.parse(script.read_text(encoding="utf-8"), str(script))
    except FileNotFoundError:
        raise MissingError(f"{script}: no such workflow; check the path") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise FormatError(f"{script}: not a Python script ({text_of(error)})") from None
    for node in tree.body:
        names = [target.id for target in getattr(node, "targets", ()) if isinstance(target, ast.Name)]
        if isinstance(node, ast.Assign) and names == ["STEPS"]:
            return _checked(script, node.value)
    raise FormatError(
        f'{script}: names no steps; write STEPS = {{"ingest": "run", "predict": "predict"}} '
        "and take --only STEP"
    )


def chain(script: Path, words: Sequence[str], first: str | None = None, again: str = "") -> list[Task]:
    """A task for each step from ``first`` on.

    Args:
        script: the workflow.
        words: its arguments.
        first: step to begin with; None begins at the beginning.
        again: the call that submits the workflow, to which ``--from STEP`` is added where one failed.

    Raises:
        InputError: no such step.
    """
    steps = steps_of(script)
    if first is not None and first not in steps:
        raise InputError(f"{script}: no step {first!r}; it has {', '.join(steps)}")
    order = [*steps][[*steps].index(first) if first else 0 :]
    return [
        Task(
            script="predict" if steps[step] == "predict" else "run",
            words=(*(() if steps[step] == "predict" else (str(script),)), "--only", step, *words),
            name=f"{script.stem}-{step}",
            comment=f"unet-batch workflow {script}: {step} ({position} of {len(order)})",
            step=step,
            verb=str(script),
            go_on=f"{again} --from {step}" if again else "",
        )
        for position, step in enumerate(order, start=1)
    ]


def _checked(script: Path, value: ast.expr) -> dict[str, str]:
    try:
        steps = ast.literal_eval(value)
    except ValueError:
        steps = None
    if isinstance(steps, dict) and steps and all(isinstance(k, str) and v in KINDS for k, v in steps.items()):
        return steps
    raise FormatError(f"{script}: STEPS must name each step as {' or '.join(map(repr, KINDS))}; mend it")


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
