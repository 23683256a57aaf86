"""Jobs of this program: which there are, how they stand, what they wrote, and their end."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from unet_batch.cluster.slurm import programs
from unet_batch.cluster.slurm.folder import NUMBERS, Record, find
from unet_batch.errors import ClusterError, InputError, MissingError

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")
DAY = 86400.0
LOG_TAIL = 64 * 1024  # bytes in which the reason of a failure is looked for


@dataclass(frozen=True, slots=True)
class Work:
    """One submission: its driver's job and, if they are jobs of their own, its workers.

    Attributes:
        job: number of the driver's job.
        state: SLURM's word (``RUNNING``, ``PENDING``, ...), or ``done``, ``failed`` and ``ended`` once SLURM
            has forgotten the job.
        reason: why it waits, or why it failed.
        workers: how many of its elastic workers run; None where they are not jobs.
        restarts: how often it has begun anew.
        record: what was submitted.
    """

    job: int
    state: str
    reason: str
    used: str
    limit: str
    nodes: str
    workers: int | None
    restarts: int
    folder: Path
    record: Record

    @property
    def alive(self) -> bool:
        """Whether it runs or will run."""
        return self.state not in (*ENDED, "done", "failed", "ended")


def works(root: Path, *, days: float = 1.0) -> list[Work]:
    """All that run or wait, and those submitted in the last ``days``; oldest first.

    Raises:
        ClusterError: no SLURM here.
    """
    known = {job.id.partition("_")[0]: job for job in programs.my_jobs(ended=True)}
    alive = programs.my_jobs()
    found = []
    for folder, record in _records(root):
        number = record.jobs["driver"]
        job = known.get(str(number))
        if job is None and time.time() - record.submitted > days * DAY:
            continue
        if job is not None and job.state in ENDED and time.time() - record.submitted > days * DAY:
            continue
        found.append(_work(folder, record, job, alive))
    return sorted(found, key=lambda work: work.job)


def files_of(root: Path, number: str) -> list[Path]:
    """The files that a job wrote, the driver's first; ``12_3`` names one worker.

    Raises:
        MissingError: neither a folder nor SLURM knows the job.
    """
    folder = find(root, number)
    if folder is None:
        told = programs.details(number).get("StdOut")
        if told and Path(told).is_file():
            return [Path(told)]
        raise MissingError(f"job {number}: no log found in {root}; see `unet-batch jobs`")
    element = number.partition("_")[2]
    if element:
        return [folder / f"worker-{element}.out"]
    return [folder / "job.out", *sorted(folder.glob("worker-*.out"))]


def cancel(root: Path, number: str) -> list[int]:
    """End a job and those that belong to it; their numbers. Steps of a workflow behind it end by themselves.

    Raises:
        InputError: not a job's number, or of none that runs or waits.
        ClusterError: SLURM refuses.
    """
    if not re.fullmatch(r"\d+(_\d+)?", number):
        raise InputError(f"{number}: not a job's number; see `unet-batch jobs`")
    folder = find(root, number)
    record = Record.load(folder) if folder and "_" not in number else None
    numbers = [*record.jobs.values()] if record else [int(number.partition("_")[0])]
    if not programs.my_jobs(of=numbers):
        raise InputError(f"job {number}: neither runs nor waits; see `unet-batch jobs`")
    programs.run(["scancel", *(map(str, numbers) if record else [number])])
    return numbers


def writers(root: Path, out: str) -> list[int]:
    """The drivers' jobs that run or wait and write ``out``."""
    place = str(Path(out).absolute())
    numbers = [record.jobs["driver"] for _, record in _records(root) if record.out == place]
    alive = {job.id for job in programs.my_jobs() if job.state != "COMPLETING"} if numbers else set()
    return [number for number in numbers if str(number) in alive]


def _records(root: Path) -> list[tuple[Path, Record]]:
    folders = [path for path in root.glob("*") if path.name != NUMBERS] if root.is_dir() else []
    loaded = ((folder, Record.load(folder)) for folder in folders)
    return [(folder, record) for folder, record in loaded if record is not None and "driver" in record.jobs]


def _work(folder: Path, record: Record, job: programs.Job | None, alive: list[programs.Job]) -> Work:
    number, array = record.jobs["driver"], record.jobs.get("workers")
    running = [one for one in alive if one.id.startswith(f"{array}_") and one.state == "RUNNING"]
    state, reason = _ending(folder) if job is None or job.state in ENDED else (job.state, job.reason)
    if job is not None and not state:
        state = job.state
    return Work(
        job=number,
        state=state or "ended",
        reason="" if reason in ("None", "(null)") else reason,
        used=job.used if job else "",
        limit=job.limit if job else "",
        nodes=job.nodes if job else "",
        workers=None if array is None else len(running),
        restarts=_restarts(number) if job else 0,
        folder=folder,
        record=record,
    )


def _ending(folder: Path) -> tuple[str, str]:
    """How a job ended by what its script left, and why it failed by the end of its log."""
    try:
        code = (folder / "ended").read_text().strip()
    except OSError:
        return "", ""
    if code == "0":
        return "done", ""
    told = {
        "3": "finished; some blocks or images were set aside",
        "75": "has begun as often as it may; submit it again to go on",
    }
    why = told.get(code)
    return "failed", why or last_error(folder / "job.out") or f"exit code {code}"


def last_error(log: Path) -> str:
    """The last line of ``log`` that tells of an error; empty where none does."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    # What the program says of itself tells more than what SLURM says of its end.
    for kind in (r"(error|\w*Error):", r"(slurmstepd|srun): error:"):
        found = [line for line in lines if re.match(kind, line)]
        if found:
            return found[-1]
    return ""


def _restarts(number: int) -> int:
    try:
        return int(programs.details(str(number)).get("Restarts", "0"))
    except (ClusterError, ValueError):
        return 0
