"""Campaigns of faults: crashes, power loss, damage, hostile input; what was tried, and what passed.

    python benchmarks/reliability.py [CAMPAIGN ...] [--seed 0] [--minutes 10]

Without names all campaigns share the time. results/reliability.json grows as they run: a later call with
another seed adds to it. Exits 1 if anything failed. They need gcc, and lie in tests/faults/; `make soak` runs
each of them for a short while.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Run them with the shim between the program and the C library."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "tests.faults.injector", "tests.faults.reliability", *sys.argv[1:]]
    os.chdir(ROOT)
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path})


if __name__ == "__main__":
    main()
