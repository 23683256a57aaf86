"""A workflow's steps as tasks. The script names them in a literal, which is read without running it."""

import ast
from collections.abc import Sequence
from pathlib import Path

from unet_batch.cluster.slurm.command import Task
from unet_batch.errors import FormatError, InputError, MissingError, text_of

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
