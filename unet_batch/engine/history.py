"""History: one line per run on a store, beside its ledger: how long, how fast, where the time went.

While a run goes on, the same is in a file of its own, so that anyone who sees the store sees the run.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from unet_batch.atomic import atomic_write
from unet_batch.schedule.events import Event
from unet_batch.store.io_errors import writing

FILE = Path("ledger") / "runs.jsonl"
PACE_POINTS = 256
NOW = Path("ledger") / "now.json"


@dataclass(slots=True)
class RunRecord:
    """Sums over the blocks of one run.

    Attributes:
        host: machine of the driver.
        started: Unix time.
        seconds: wall time.
        pixels: pixels of the blocks computed, borders and margins left out.
        blocks: blocks by what became of them.
        stages: worker seconds by stage.
        decoded_bytes: input decoded.
        needed_bytes: input that the computed blocks cover.
        jobs: of a batch system, that took part; the driver's own first.
        workers: who did the blocks.
        pace: (seconds, pixels) since the run began, at least ``pace_seconds`` apart, to draw the rate.
        remarks: what workers did otherwise than planned.
    """

    host: str
    started: float
    seconds: float = 0.0
    pixels: int = 0
    blocks: dict[str, int] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    decoded_bytes: int = 0
    needed_bytes: int = 0
    jobs: list[str] = field(default_factory=list)
    workers: list[str] = field(default_factory=list)
    pace: list[tuple[float, int]] = field(default_factory=list)
    pace_seconds: float = 0.25
    remarks: list[str] = field(default_factory=list)

    def add(self, event: Event, pixels: int, seconds: float) -> None:
        """Count one event; ``pixels`` of its block, ``seconds`` since the run began."""
        self.seconds = seconds
        self.blocks[event.status] = self.blocks.get(event.status, 0) + 1
        if event.status == "done":
            self.pixels += pixels
        for stage, taken in event.stages.items():
            self.stages[stage] = self.stages.get(stage, 0.0) + taken
        self.decoded_bytes += event.decoded_bytes
        self.needed_bytes += event.needed_bytes
        if event.job and event.job not in self.jobs:
            self.jobs.append(event.job)
        if event.worker and event.worker not in self.workers:
            self.workers.append(event.worker)
        if event.remark and event.remark not in self.remarks:
            self.remarks.append(event.remark)
        self._keep_pace()

    def _keep_pace(self) -> None:
        """A point now and then: of a run of any length so few that its line stays short."""
        if self.pace and self.seconds < self.pace[-1][0] + self.pace_seconds:
            return
        self.pace.append((round(self.seconds, 3), self.pixels))
        if len(self.pace) > PACE_POINTS:
            self.pace, self.pace_seconds = self.pace[1::2], 2 * self.pace_seconds

    @property
    def pixels_per_second(self) -> float:
        """Rate over the wall time of the run, start of workers left out."""
        return self.pixels / self.seconds if self.seconds else 0.0

    @property
    def read_amplification(self) -> float | None:
        """Bytes decoded for each byte that the blocks cover."""
        return self.decoded_bytes / self.needed_bytes if self.needed_bytes else None


_RECORD = TypeAdapter(RunRecord)
_MOST_SECONDS = 2.0**40


def append(store: str, record: RunRecord) -> None:
    """Add a run that has ended."""
    path = Path(store) / FILE
    with writing(str(path)), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(record)) + "\n")


def announce(store: str, record: RunRecord) -> None:
    """Let others see a run that goes on."""
    atomic_write(Path(store) / NOW, json.dumps(asdict(record)), fsync=False)


def withdraw(store: str) -> None:
    """The run has ended."""
    with writing(str(Path(store) / NOW)):
        (Path(store) / NOW).unlink(missing_ok=True)


def current(store: str) -> RunRecord | None:
    """What was last announced. A killed driver withdraws nothing: its lock tells whether it lives."""
    try:
        return _parsed((Path(store) / NOW).read_bytes())
    except OSError:
        return None


def read(store: str) -> list[RunRecord]:
    """All runs, oldest first; lines that are torn or damaged are left out."""
    try:
        lines = (Path(store) / FILE).read_bytes().splitlines()
    except OSError:
        return []
    return [record for line in lines if (record := _parsed(line)) is not None]


def _parsed(line: bytes) -> RunRecord | None:
    """A record whose values are of their types and sizes; None for anything else."""
    try:
        record = _RECORD.validate_python(json.loads(line))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    seconds = (record.started, record.seconds, record.pace_seconds, *record.stages.values())
    numbers = (record.pixels, record.decoded_bytes, record.needed_bytes, *record.blocks.values())
    sane = all(abs(one) < _MOST_SECONDS for one in seconds) and all(0 <= one < 2**63 for one in numbers)
    return record if sane else None
