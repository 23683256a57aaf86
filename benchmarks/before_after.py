"""Two states of the package side by side: what the same commands cost, in turns.

    python benchmarks/before_after.py --before ../before --after . --rounds 5    # --help

Reports CPU seconds (user and system, with children), which other work on the machine changes less than wall
time, and the ratio after / before of each round; rounds alternate, so that both states meet the same load.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from machine import facts, source_hash
from same_inputs import make

RESULTS = Path(__file__).parent / "results" / "before_after.json"
SERIAL = ("--set", "workers=0", "--set", "threads=1", "--quiet")
PREDICT = ("predict", "plain.zarr", "OUT.zarr", "--model", "valid.safetensors")
FIXED = tuple(
    word
    for item in ("device=cpu", "backend=eager", "precision=fp32", "tile=64", "batch=4", "block=256")
    for word in ("--set", item)
)
CASES: dict[str, tuple[str, ...]] = {
    "startup --help": ("--help",),
    "startup plan --help": ("plan", "--help"),
    "ingest": ("ingest", "tiled.tif", "OUT.zarr", "--set", "workers=0", "--set", "block=128", "--quiet"),
    "predict": (*PREDICT, *FIXED, *SERIAL),
    "predict, small blocks": (*PREDICT, *FIXED[:-1], "block=64", "--set", "chunk=64", *SERIAL),
    "export": ("export", "masks.zarr", "OUT.tif", *SERIAL),
    "objects": ("objects", "masks.zarr", "OUT.parquet", *SERIAL),
}


def cpu_seconds(tree: Path, folder: Path, words: tuple[str, ...], out: str) -> float:
    """CPU seconds of one command in a new process and its children."""
    own = [word.replace("OUT", out) for word in words]
    env = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "unet_batch", *own], cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL
    )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def prepared(tree: Path, folder: Path) -> None:
    """Inputs, and what the cases work on, made by one of the two states."""
    make(folder)
    layout = ("--set", "block=256", "--set", "chunk=128", "--quiet")
    cpu_seconds(tree, folder, ("model", "new", "valid.yaml", "valid.safetensors", "--seed", "0"), "")
    cpu_seconds(tree, folder, ("ingest", "plain.tif", "plain.zarr", *layout), "")
    cpu_seconds(tree, folder, (*PREDICT[:2], "masks.zarr", *PREDICT[3:], *FIXED, *SERIAL), "")


def compared(name: str, sides: list[tuple[Path, Path]], rounds: int) -> dict[str, float]:
    """Seconds of both and their ratios; the first round warms the files up and is left out."""
    pairs = []
    for number in range(rounds + 1):
        order = (0, 1) if number % 2 else (1, 0)
        both = {i: cpu_seconds(*sides[i], CASES[name], f"{name} {number}") for i in order}
        pairs.append((both[0], both[1]))
    ratios = sorted(now / was for was, now in pairs[1:])
    return {
        "before": round(median(was for was, _ in pairs[1:]), 3),
        "after": round(median(now for _, now in pairs[1:]), 3),
        "ratio": round(median(ratios), 3),
        "least": round(ratios[0], 3),
        "most": round(ratios[-1], 3),
    }


def measured(trees: tuple[Path, Path], rounds: int) -> dict[str, Any]:
    """All cases, printed as they come."""
    found = {}
    with TemporaryDirectory() as scratch:
        sides = [(tree, Path(scratch) / name) for name, tree in zip(("was", "now"), trees, strict=True)]
        for tree, folder in sides:
            prepared(tree, folder)
        for name in CASES:
            found[name] = compared(name, sides, rounds)
            print(name, found[name], flush=True)
    return found


def main() -> None:
    """Measure all cases, print and keep them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="source tree of the old code")
    parser.add_argument("--after", type=Path, required=True, help="source tree of the new code")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    chosen = parser.parse_args()
    trees = chosen.before.resolve(), chosen.after.resolve()
    sources = {
        name: source_hash(t / "unet_batch") for name, t in zip(("before", "after"), trees, strict=True)
    }
    head = {"benchmark": "before_after", **facts(), "sources": sources, "rounds": chosen.rounds}
    chosen.results.write_text(
        json.dumps({**head, "cpu_seconds": measured(trees, chosen.rounds)}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
