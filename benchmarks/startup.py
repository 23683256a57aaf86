"""How long ``unet-batch --help`` and ``import unet_batch`` take: python benchmarks/startup.py

Prints JSON: seconds (median, smallest and largest of 20 new processes), machine and versions.
"""

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from statistics import median

RUNS = 20
CASES = {
    "python": ["-c", "pass"],
    "import unet_batch": ["-c", "import unet_batch"],
    "unet-batch --help": ["-m", "unet_batch", "--help"],
    "unet-batch plan --help": ["-m", "unet_batch", "plan", "--help"],
    "unet-batch schema predict": ["-m", "unet_batch", "schema", "predict"],
}
PACKAGES = ("unet-batch", "click", "pydantic")


def seconds(arguments: list[str]) -> float:
    """Wall time of one new interpreter."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure(arguments: list[str]) -> dict[str, float]:
    """Median and range, after one run that warms the file cache."""
    seconds(arguments)
    times = [seconds(arguments) for _ in range(RUNS)]
    return {"median": round(median(times), 4), "min": round(min(times), 4), "max": round(max(times), 4)}


def main() -> None:
    """Measure all cases and print them."""
    report = {
        "benchmark": "startup",
        "runs": RUNS,
        "seconds": {name: measure(arguments) for name, arguments in CASES.items()},
        "machine": {"platform": platform.platform(), "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
