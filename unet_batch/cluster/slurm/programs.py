"""SLURM's programs, called with lists of words; no shell in between. What they print, as values.

Where SLURM refuses a job, its words and the setting that made it refuse.
"""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unet_batch.cluster.slurm.command import OPTIONS
from unet_batch.errors import ClusterError, ConfigError

TIMEOUT = 60.0  # seconds; a controller under load answers late
# Of an enclosing job, these would be taken for wishes of the one that is submitted.
KEPT = ("SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT")
UNIT = "\x1f"  # between fields: no job name or comment of ours has it
FIELDS = {
    "id": "%i",
    "state": "%T",
    "reason": "%r",
    "used": "%M",
    "limit": "%l",
    "nodes": "%N",
    "partition": "%P",
    "name": "%j",
    "comment": "%k",
}


class RefusalError(ClusterError):
    """A program of SLURM ended with an error; its own words are the message."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as squeue tells it; all fields as printed."""

    id: str
    state: str
    reason: str
    used: str
    limit: str
    nodes: str
    partition: str
    name: str
    comment: str


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for SLURM's programs: this one without what belongs to an enclosing job."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_") or k in KEPT}
    return {**own, **(extra or {})}


def run(words: Sequence[str], extra: Mapping[str, str] | None = None) -> str:
    """What a program prints.

    Raises:
        ClusterError: it is not installed here, or no controller answers.
        RefusalError: it ended with an error.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a list of words, no shell
            list(words),
            env=environment(extra),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise ClusterError(f"{words[0]}: not found; run this on a login node of a SLURM cluster") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{words[0]}: no answer in {TIMEOUT:.0f} s; try again later") from None
    except (OSError, ValueError) as error:  # too long a line of words, a zero byte
        raise ClusterError(f"{words[0]}: cannot be called ({error}); give shorter, plain words") from None
    if done.returncode:
        raise RefusalError(_said(done.stderr) or f"{words[0]} ended with {done.returncode}")
    return done.stdout


def sbatch(words: Sequence[str], extra: Mapping[str, str]) -> int:
    """Submit; the new job's number."""
    printed = run(words, extra).strip()
    number = printed.partition(";")[0]  # "123;cluster" in federations
    if not number.isdigit():
        raise ClusterError(f"sbatch: answered {printed[:80]!r}, not a job's number; see squeue")
    return int(number)


def my_jobs(*, of: Sequence[int] = (), ended: bool = False) -> list[Job]:
    """The caller's jobs that squeue knows, one for each element of an array that has begun."""
    words = ["squeue", "--me", "--noheader", f"--format={UNIT.join(FIELDS.values())}"]
    if ended:
        words.append("--states=all")
    if of:
        words.append(f"--jobs={','.join(map(str, of))}")
    try:
        printed = run(words)
    except RefusalError as error:
        if "Invalid job id" in str(error):  # forgotten: some minutes after its end
            return []
        raise
    rows = (line.split(UNIT) for line in printed.splitlines())
    return [Job(*map(str.strip, row)) for row in rows if len(row) == len(FIELDS)]


def details(job: str) -> dict[str, str]:
    """What scontrol shows of one job, as far as it is plain: JobState, Restarts, ExitCode, StdOut, ..."""
    try:
        printed = run(["scontrol", "show", "job", job])
    except RefusalError:
        return {}
    found: dict[str, str] = {}
    for line in printed.splitlines():
        key, _, value = line.strip().partition("=")
        if key in ("StdOut", "Comment", "WorkDir"):  # these fill their line
            found.setdefault(key, value)
        elif key != "Command":
            for pair in re.finditer(r"(\w+)=(\S*)", line):
                found.setdefault(pair[1], pair[2])
    return found


def _said(stderr: str) -> str:
    lines = (re.sub(r"^\w+: (error|fatal): ", "", line.strip()) for line in stderr.splitlines())
    return "; ".join(line for line in lines if line and not line.startswith("Try "))


SIZES = ("nodes", "tasks", "tasks_per_node", "cpus_per_task")
GPUS = ("gpus", "gpus_per_node", "gpus_per_task", "gres")
MEMORY = ("memory", "memory_per_cpu", "memory_per_gpu")

# From slurm_errno.c and the option parser of sbatch; the first that matches tells.
CAUSES = (
    (r"policy|limits", ("qos", "account", "partition", "time", *SIZES, *GPUS, *MEMORY)),
    (r"account", ("account", "partition")),
    (r"partition", ("partition",)),
    (r"\bqos\b", ("qos",)),
    (r"reservation", ("reservation",)),
    (r"feature", ("constraint",)),
    (r"gres|generic resource|\bgpus?\b", (*GPUS, "tasks")),
    (r"memory", MEMORY),
    (r"time limit", ("time",)),
    (r"node count|node configuration|processor|cpu count", (*SIZES, *GPUS, *MEMORY, "constraint")),
)


def explained(error: RefusalError, settings: Mapping[str, object], where: str) -> ConfigError:
    """The refusal in SLURM's words, with the settings at fault and where they are written."""
    words = str(error)
    given = [key for key in _blamed(words, settings) if key in settings]
    if not given:
        return ConfigError(f"SLURM refuses the job: {words}; see the sbatch line with --dry-run")
    told = ", ".join(f"`{key}: {_shown(settings[key])}`" for key in given)
    return ConfigError(f"SLURM refuses the job: {words}; this comes from {told} in {where}")


def _blamed(words: str, settings: Mapping[str, object]) -> tuple[str, ...]:
    extra = settings.get("extra", ())
    options = re.findall(r"--[a-z][a-z-]*", words)
    if isinstance(extra, tuple) and any(str(one).startswith(option) for one in extra for option in options):
        return ("extra",)
    if exact := tuple(key for key, option in OPTIONS.items() if option in options and key in settings):
        return exact
    found = next((keys for pattern, keys in CAUSES if re.search(pattern, words, re.IGNORECASE)), ())
    return found if any(key in settings for key in found) else ("extra",)


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
