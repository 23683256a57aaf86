"""Run the benchmarks that need neither a GPU nor other libraries: python benchmarks/run_all.py [NAME ...]

Each result goes to benchmarks/results/NAME.json, whole or not at all. Some ten minutes on two cores; leave
the machine alone meanwhile.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
NAMES = ("startup", "end_to_end", "identity", "memory")


def run(name: str) -> None:
    """One benchmark, in a process of its own."""
    partial = RESULTS / f"{name}.json.partial"
    with partial.open("wb") as file:
        code = subprocess.run([sys.executable, str(HERE / f"{name}.py")], stdout=file, check=False).returncode
    if code:
        partial.unlink()
        sys.exit(code)
    partial.replace(RESULTS / f"{name}.json")
    print(f"{name}: {RESULTS / name}.json", flush=True)


def main() -> None:
    """All of them, or those named."""
    RESULTS.mkdir(exist_ok=True)
    for name in sys.argv[1:] or NAMES:
        run(name)


if __name__ == "__main__":
    main()
