"""What SLURM says when it refuses a job, and which setting made it."""

import re
from collections.abc import Mapping

from unet_batch.cluster.slurm.command import OPTIONS
from unet_batch.cluster.slurm.programs import RefusalError
from unet_batch.errors import ConfigError

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
