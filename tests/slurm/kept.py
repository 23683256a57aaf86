"""What campaigns measured: benchmarks/results/slurm.json, a key for each, with machine and versions."""

import json
from pathlib import Path

from benchmarks.machine import facts

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "slurm.json"


def keep(name, **values):
    """Put a measurement into the results."""
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found[name] = {**values, **facts()}
    RESULTS.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
