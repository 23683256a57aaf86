"""How much of the network's own speed is left from Zarr store to mask store, through local Dask.

    python benchmarks/end_to_end.py [--side 6144] [--rounds 5]

The network alone and the whole prediction take turns; each prediction is compared with the mean of the two
measurements of the network around it, as machines drift. Prints JSON.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

from inputs import DEMO, PAPER, tissue, write_image, write_network
from machine import facts
from rates import Forward, Run, fixed, plan_at, pure_forward, timed

from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.plan import Plan

FORWARD_SECONDS = 4.0
BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Case:
    """A network on the first ``side`` pixels of an image, ``rounds`` times."""

    name: str
    keys: Mapping[str, object]
    channels: tuple[int, ...]
    side: int
    rounds: int

    def config(self, device: str) -> PredictConfig:
        """The defaults on this part of the image, but many blocks that report one by one: for the rates."""
        return PredictConfig(
            channels=self.channels, roi=((0, self.side),) * 2, device=device, block=BLOCK, packet_seconds=0.1
        )


def cases(side: int, rounds: int) -> list[Case]:
    """The demo's network on all of the image, the original U-Net, 16 times the work, on less of it."""
    return [
        Case("width 16, depth 4, batch norm", DEMO, (0, 1, 2), side, rounds),
        Case("original U-Net, 31.0 M parameters", PAPER, (0,), max(2 * BLOCK, side // 2), rounds),
    ]


def measure(case: Case, image: Path, folder: Path, device: str = "auto") -> dict[str, Any]:
    """All rounds of a case; the first run decides the settings and is reported by itself."""
    model = write_network(folder / "network.safetensors", case.keys)
    out, config = folder / "masks.zarr", case.config(device)
    say(f"{case.name}: choosing")
    first = timed(image, out, model, config)
    plan = plan_at(out)
    config = fixed(config, plan)
    with pure_forward(model, plan, config) as forward:
        alone, runs = alternate(lambda: timed(image, out, model, config), forward, case.rounds)
    return {**settings(plan), "pixels": first.pixels, **comparison(alone, runs, first)}


def alternate(run: Any, forward: Forward, rounds: int) -> tuple[list[float], list[Run]]:
    """Network, run, network, run, ..., network."""
    alone, runs = [forward(FORWARD_SECONDS)], []
    for number in range(rounds):
        runs.append(run())
        alone.append(forward(FORWARD_SECONDS))
        say(f"round {number + 1}: {runs[-1].steady / mean(alone[-2:]):.3f} of pure forward")
    return alone, runs


def comparison(alone: list[float], runs: list[Run], first: Run) -> dict[str, Any]:
    """Rates in megapixels per second and the medians of their ratios."""
    beside = [mean(alone[k : k + 2]) for k in range(len(runs))]
    ratios = sorted(run.steady / forward for run, forward in zip(runs, beside, strict=True))
    return {
        "share_of_pure_forward": {
            "steady_state": round(median(ratios), 3),
            "smallest": round(ratios[0], 3),
            "largest": round(ratios[-1], 3),
            "whole_call": round(median(r.whole / f for r, f in zip(runs, beside, strict=True)), 3),
            "whole_call_with_trial": round(first.whole / beside[0], 3),
        },
        "megapixels_per_second": {
            "pure_forward": [round(rate / 1e6, 3) for rate in alone],
            "steady_state": [round(run.steady / 1e6, 3) for run in runs],
            "whole_call": [round(run.whole / 1e6, 3) for run in runs],
        },
        "seconds_before_steady_state": round(median(start_up(run) for run in runs), 2),
        "stage_seconds_per_second": {
            stage: round(median(run.stage_share()[stage] for run in runs), 3)
            for stage in runs[0].stage_share()
        },
        "read_amplification": round(runs[-1].decoded_bytes / runs[-1].needed_bytes, 3),
    }


def start_up(run: Run) -> float:
    """What a whole call takes beyond its pixels at the steady rate."""
    return run.seconds - run.pixels / run.steady


def settings(plan: Plan) -> dict[str, Any]:
    """What ``auto`` became."""
    dims, part = plan.spec.dims, plan.compute
    return {
        "device": part.device,
        "precision": part.precision,
        "backend": part.backend,
        "batch": part.batch,
        "block": plan.grid.block[-dims:],
        "tile": plan.grid.tile[-dims:],
        "input": plan.input_shape[-dims:],
    }


def say(message: str) -> None:
    """Progress, apart from the result."""
    print(message, file=sys.stderr, flush=True)


def main() -> None:
    """Measure all cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=6144, help="pixels per side of the image")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    report: dict[str, Any] = {"benchmark": "end_to_end", "side": chosen.side, **facts(), "cases": {}}
    with TemporaryDirectory() as name:
        folder = Path(name)
        image = write_image(folder / "image.zarr", tissue(chosen.side))
        for case in cases(chosen.side, chosen.rounds):
            report["cases"][case.name] = measure(case, image, folder)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
