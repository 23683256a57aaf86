"""Areas of a large mask by zones, against a reference, and its preview: seconds and peak memory.

    python benchmarks/stats.py [--side 20000] [--zones 400]

The zones are hexagons side by side over the whole mask. Each step runs in processes of its own; memory is
the sum of their peaks (VmHWM), so an upper bound. Prints JSON.
"""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import shapely
from export import EXPORT, timed
from machine import facts
from masks import blobs, write_masks


def write_zones(path: Path, side: int, count: int) -> None:
    """About ``count`` hexagons in pixels of the mask, as GeoJSON."""
    radius = side / np.sqrt(count * 1.5 * np.sqrt(3))
    corners = radius * np.exp(1j * np.pi / 3 * np.arange(6))
    columns, rows = np.arange(0, side, 1.5 * radius), np.arange(0, side, np.sqrt(3) * radius)
    features = []
    for i, x in enumerate(columns):
        for y in rows + (i % 2) * np.sqrt(3) / 2 * radius:
            hexagon = shapely.Polygon(np.column_stack((x + corners.real, y + corners.imag)))
            geometry = json.loads(shapely.to_geojson(hexagon))
            features.append({"type": "Feature", "properties": {}, "geometry": geometry})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def measure(side: int, zones: int) -> dict[str, Any]:
    """All steps, one after the other."""
    found: dict[str, Any] = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        masks = str(write_masks(folder / "masks.zarr", side, blobs()))
        truth = str(write_masks(folder / "truth.zarr", side, blobs(1)))
        write_zones(folder / "zones.geojson", side, zones)
        by_zones = ["--zones", str(folder / "zones.geojson")]
        steps = {
            "by zones": ["stats", masks, str(folder / "a.csv"), *by_zones, "-q"],
            "by zones against a reference": [
                *("stats", masks, str(folder / "b.csv"), *by_zones),
                *("--reference", truth, "-q"),
            ],
            "preview": ["preview", masks, str(folder / "p.png")],
        }
        for what, words in steps.items():
            seconds, mib = timed([sys.executable, "-c", EXPORT, *words])
            rate = round(side**2 / 1e6 / seconds, 1)
            found[what] = {"seconds": round(seconds, 2), "mpx_per_second": rate, "peak_mib": mib}
            print(f"{what}: {found[what]}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=20000, help="pixels per side")
    parser.add_argument("--zones", type=int, default=400)
    chosen = parser.parse_args()
    found = measure(chosen.side, chosen.zones)
    report = {"benchmark": "stats", **facts(), "side": chosen.side, "zones": chosen.zones, "runs": found}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
