"""A slice of each campaign of faults, in a process with the shim; at length they run by `make soak`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.reliability import NAMES
from tests.kept import VARIABLE

ROOT = Path(__file__).parents[2]


def campaigns(names, minutes, results):
    """Run them, and what they counted."""
    command = [sys.executable, "benchmarks/reliability.py", *names, "--minutes", str(minutes)]
    command += ["--results", str(results)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return {name: json.loads(results.read_text())[name]["counts"] for name in names}


def test_some_tries_of_the_quick_campaigns(tmp_path):
    """Whether the shim sees what it should, and the campaigns find nothing in some seconds."""
    counts = campaigns(["crashes", "damage", "names", "sequences"], 0.04, tmp_path / "found.json")
    assert all(one["tries"] for one in counts.values())


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_a_campaign_at_length(tmp_path, name):
    folder = Path(os.environ.get(VARIABLE) or tmp_path)
    assert campaigns([name], 20, folder / "reliability.json")[name]["tries"] > 100
