"""``unet-batch submit``: any verb, or a workflow, as SLURM jobs."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from unet_batch.cli import options

if TYPE_CHECKING:
    from unet_batch.cluster.slurm.command import Task
    from unet_batch.cluster.slurm.config import SlurmConfig
    from unet_batch.cluster.slurm.submit import Draft, Submitted

CallT = TypeVar("CallT", bound=Callable[..., Any])

# Verbs that only make sense where they are called.
HERE = ("cancel", "cluster", "jobs", "logs", "pool", "schema", "submit")
POOLED = ("predict", "predict-many")
PRODUCTS = ("evaluate", "export", "objects", "preview", "report", "stats")
PATH = click.Path(path_type=Path)
SETTINGS = {"partition": "NAME", "account": "NAME", "qos": "NAME", "time": "TIME", "nodes": "N", "tasks": "N"}
SETTINGS |= {"cpus_per_task": "N", "gpus_per_node": "N", "memory": "SIZE"}


def job_options(function: CallT) -> CallT:
    """What every job may be told on the command line; the rest is in the cluster's YAML."""
    for name, metavar in reversed(SETTINGS.items()):
        option = f"--{name.replace('_', '-')}"
        function = click.option(option, name, metavar=metavar, help=f"Instead of `{name}` in the YAML.")(
            function
        )
    for wrap in (
        options.as_json,
        click.option("--dry-run", is_flag=True, help="Print the sbatch line and the files; submit nothing."),
        click.option("--name", help="Of the job."),
        click.option(
            "--after", type=int, multiple=True, metavar="JOB", help="Begin once JOB has ended well."
        ),
        click.option(
            "--elastic", type=click.IntRange(min=1), metavar="N", help="WorkerPool: up to N single jobs."
        ),
        click.option("--gpus", type=click.IntRange(min=1), metavar="N", help="In all, with one worker each."),
        click.option(
            "--slurm", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the YAML."
        ),
        click.option(
            "--cluster", "cluster_file", type=PATH, envvar="UNET_BATCH_CLUSTER", help="The cluster's YAML."
        ),
    ):
        function = wrap(function)
    return function


class _Verbs(click.Group):
    """A command for every verb that can be a job; words that are not for submit are passed on as they are."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs that can be jobs, and what is more than one verb."""
        del ctx
        from unet_batch.cli.main import VERBS  # noqa: PLC0415 - main imports the verbs

        return sorted({*VERBS, "products", "workflow"} - {*HERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb as a job."""
        if cmd_name in (named := {"products": products, "workflow": workflow}):
            return named[cmd_name]
        return _as_job(cmd_name) if cmd_name in self.list_commands(ctx) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The names alone: `unet-batch --help` says what they do."""
        with formatter.section("Verbs"):
            formatter.write_text(", ".join(self.list_commands(ctx)))


class _Products(_Verbs):
    """The verbs that make something of masks."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        del ctx
        return [*PRODUCTS]


@click.group(cls=_Verbs)
def command() -> None:
    """Run a verb as a SLURM job: unet-batch submit predict IMAGE OUT --model NET --gpus 8."""


@click.group("products", cls=_Products)
def products() -> None:
    """Make something of masks in a job: unet-batch submit products export MASKS OUT."""


@click.command("workflow", context_settings={"ignore_unknown_options": True})
@click.argument("script", type=PATH)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.option("--from", "first", metavar="STEP", help="Leave out the steps before this one.")
@job_options
def workflow(script: Path, words: tuple[str, ...], first: str | None, **flags: Any) -> None:
    """Send the steps of SCRIPT as jobs, each of which begins once the one before it has ended well."""
    from unet_batch.cluster.slurm.submit import chain, draft, submit_chain  # noqa: PLC0415 - needed when it runs

    config, where = _config(flags, pooled=True)
    again = shlex.join(["unet-batch", "submit", "workflow", str(script), *words, *_given(flags)])
    tasks = chain(script, words, first, again)
    if flags["dry_run"]:
        _show_drafts([draft(task, config) for task in tasks], as_json=flags["as_json"])
        return
    for task, done in zip(tasks, submit_chain(tasks, config, where, flags["after"]), strict=True):
        _show(done, task, as_json=flags["as_json"])


def _as_job(verb: str) -> click.Command:
    @click.command(verb, context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    @job_options
    def run(words: tuple[str, ...], **flags: Any) -> None:
        from unet_batch.cluster.slurm.submit import draft, submit  # noqa: PLC0415 - imported when it runs

        config, where = _config(flags, pooled=verb in POOLED)
        task = _task(verb, words, flags)
        chosen = draft(task, config)
        if flags["dry_run"]:
            _show_drafts([chosen], as_json=flags["as_json"])
        else:
            _show(submit(chosen, where), task, as_json=flags["as_json"])

    run.help = f"Run `unet-batch {verb} WORDS...` as a SLURM job."
    return run


def _config(flags: dict[str, Any], *, pooled: bool) -> tuple["SlurmConfig", str]:
    """The cluster's settings, and where they were given."""
    from unet_batch.cluster.slurm.config import SlurmConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.config import load  # noqa: PLC0415

    items = [*flags["overrides"]]
    # JSON is YAML in which a time stays text.
    items += [f"{key}={_quoted(key, flags[key])}" for key in SETTINGS if flags[key] is not None]
    if flags["gpus"] and pooled:
        items += [f"tasks={flags['gpus']}", "gpus_per_task=1", "gpus=null", "gpus_per_node=null", "gres=null"]
    elif flags["gpus"]:
        items.append(f"gpus={flags['gpus']}")
    if flags["elastic"]:
        items += ["workers=elastic", f"array={flags['elastic']}"]
    places = [str(flags["cluster_file"])] if flags["cluster_file"] else []
    places += ["the command line"] if items else []
    return load(SlurmConfig, flags["cluster_file"], items), " or ".join(places) or "the defaults"


def _given(flags: dict[str, Any]) -> list[str]:
    """The options again that say what is asked of the cluster."""
    given = {"cluster": flags["cluster_file"], "gpus": flags["gpus"], "elastic": flags["elastic"]}
    given |= {name.replace("_", "-"): flags[name] for name in SETTINGS}
    words = [f"--{name}={value}" for name, value in given.items() if value is not None]
    return [*words, *(f"--slurm={item}" for item in flags["overrides"])]


def _quoted(key: str, text: str) -> str:
    return text if key != "time" and text.isdigit() and len(text) < 6 else json.dumps(text)


def _task(verb: str, words: tuple[str, ...], flags: dict[str, Any]) -> "Task":
    """The verb's call, checked as far as a login node can."""
    from unet_batch.cli.check import check  # noqa: PLC0415 - imported when it runs
    from unet_batch.cluster.slurm.command import Task  # noqa: PLC0415

    found = check(verb, words)
    subject = Path(found.out or found.subject or verb).name
    script = {"predict": "predict", "predict-many": "predict", "train": "train"}.get(verb, "run")
    return Task(
        script=script,  # type: ignore[arg-type]  # one of the literals above
        words=words if script in ("predict", "train") else (verb, *words),
        name=flags["name"] or f"{verb}-{subject}",
        comment=f"unet-batch {verb} {found.told}".strip(),
        step=verb,
        verb=verb,
        out=found.out,
        after=flags["after"],
    )


def _show(done: "Submitted", task: "Task", *, as_json: bool) -> None:
    if as_json:
        options.echo_json(
            {"job": done.driver, "workers": done.workers, "log": str(done.log), "step": task.step}
        )
        return
    workers = f" with workers {done.workers}" if done.workers else ""
    click.echo(f"job {done.driver}{workers}: {task.comment}; unet-batch logs {done.driver}")


def _show_drafts(drafts: list["Draft"], *, as_json: bool) -> None:
    calls = [(chosen, call) for chosen in drafts for call in chosen.calls]
    if as_json:
        told = [{"sbatch": call.call("DRIVER"), "environment": dict(call.environment)} for _, call in calls]
        options.echo_json(told)
        return
    for _, call in calls:
        assigned = [f"{key}={value}" for key, value in call.environment.items()]
        click.echo(shlex.join(["env", *assigned, *call.call("DRIVER")]))
    for chosen in drafts:
        given, scripts = chosen.calls[0].environment, sorted({f"{one.script}.sbatch" for one in chosen.calls})
        files = given["UNET_BATCH_FILES"]
        site = given.get("UNET_BATCH_SITE", f"{files}/site.env")
        click.echo(f"# files: {', '.join([site, *(f'{files}/{name}' for name in ['job.sh', *scripts])])}")
        click.echo(f"# folder: {chosen.folder} (settings.yaml, job.json, job.out)")
