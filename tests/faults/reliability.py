"""The campaigns by name, for so many minutes each; their counts are kept as they grow."""

import argparse
import importlib
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import facts
from tests.faults import one_thread
from tests.faults.campaign import Found
from tests.faults.verbs import World

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "reliability.json"
NAMES = ("crashes", "power", "damage", "hostile", "names", "sequences", "pairs")
_SAVE_SECONDS = 20.0


class Kept(Found):
    """Counts that are added to those of earlier calls in a file, as they grow."""

    def __init__(self, until: float, results: Path, name: str, seed: int) -> None:
        super().__init__(until)
        self.results, self.name, self.seed = results, name, seed
        self.began = self.saved = time.monotonic()
        nothing: dict[str, Any] = {"counts": {}, "failures": [], "minutes": 0.0, "seeds": []}
        self.before = _read(results).get(name, nothing)

    def count(self, kind: str, fault: str = "") -> bool:
        """As of any campaign; failures are shown at once."""
        passed = super().count(kind, fault)
        if fault:
            print(self.failures[-1], file=sys.stderr, flush=True)
        if time.monotonic() - self.saved > _SAVE_SECONDS:
            self.save()
        return passed

    def save(self) -> None:
        """Put the sums into the file."""
        self.saved = time.monotonic()
        counts = Counter(self.before["counts"]) + self.counts
        values = {
            "counts": dict(sorted(counts.items())),
            "failures": [*self.before["failures"], *self.failures],
            "minutes": round(self.before["minutes"] + (self.saved - self.began) / 60, 1),
            "seeds": sorted({*self.before["seeds"], self.seed}),
        }
        held = {**_read(self.results), **facts(), self.name: values}
        part = self.results.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(held, indent=1) + "\n")
        part.replace(self.results)


def run(name: str, seed: int, minutes: float, results: Path) -> bool:
    """One campaign; whether nothing failed."""
    with TemporaryDirectory(prefix="reliability-", dir=_fast()) as place:
        world = World.make(Path(place) / "in")
        found = Kept(time.monotonic() + 60 * minutes, results, name, seed)
        importlib.import_module(f"tests.faults.{name}").campaign(world, Path(place) / "out", seed, found)
    found.save()
    print(f"{name}: {dict(found.counts)} {found.failures}", flush=True)
    return not found.failures


def _fast() -> str | None:
    """A folder in memory, where there is one: names are removed there in microseconds."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _read(results: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    return found


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help=", ".join(NAMES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10.0, help="of all campaigns together")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    one_thread.use()
    names = given.names or NAMES
    passed = [run(name, given.seed, given.minutes / len(names), given.results) for name in names]
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
