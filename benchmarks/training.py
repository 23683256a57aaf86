"""What a finished training came to: scores, settings, time. Measures nothing; it reads the folder of a run.

    python workflows/volume.py
    python benchmarks/training.py out/volume/run > benchmarks/results/volume.json

Seconds are those of the run, on whatever else the machine was doing.
"""

import argparse
import json
from pathlib import Path

import machine

from unet_batch.models.checkpoint import read_card, read_spec


def main() -> None:
    """Print what is worth keeping."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of the run (run.out)")
    run = parser.parse_args().run
    result = json.loads((run / "done.json").read_text(encoding="utf-8"))
    card = read_card(run / "best.safetensors")
    kept = {
        "spec": read_spec(run / "best.safetensors").model_dump(mode="json", exclude_defaults=True),
        "result": result,
        "settings": card["settings"],
        "labelled_pixels": card["data"]["labelled_pixels"],
        "trained_with": card["versions"],
        "megabytes": round((run / "best.safetensors").stat().st_size / 1e6, 2),
    }
    print(json.dumps({"benchmark": "training", **machine.facts(), **kept}, indent=1))


if __name__ == "__main__":
    main()
