"""A million polygons: time and peak memory of their export, and of rasterio.features.shapes on a corner.

    python benchmarks/polygons.py [--side 30000] [--kinds parquet gpkg geojson] [--tolerance 0]

The mask is made of discs, one in each square of 30 pixels. Rates of the others are per polygon of the corner
that fits into their memory. Prints JSON.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from export import EXPORT, timed
from machine import facts
from masks import discs, write_masks
from rasterio.features import shapes

from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

CORNER = 4096


def rasterio_rate(masks: Path) -> dict[str, Any]:
    """``rasterio.features.shapes`` of one corner, on one core."""
    opened = Masks.open(masks)
    extent = tuple(min(CORNER, n) for n in opened.layout.shape)
    labels = opened.read(Box.of_shape(extent))[0]
    begun = time.perf_counter()
    count = sum(1 for _ in shapes(labels, mask=labels != 0))
    seconds = time.perf_counter() - begun
    return {"polygons": count, "seconds": round(seconds, 2), "polygons_per_second": round(count / seconds)}


def measure(side: int, kinds: list[str], tolerance: float) -> dict[str, Any]:
    """All kinds, each in processes of its own."""
    found: dict[str, Any] = {}
    with TemporaryDirectory() as name:
        masks = write_masks(Path(name) / "masks.zarr", side, discs(side))
        found["rasterio.features.shapes, corner"] = rasterio_rate(masks)
        for kind in kinds:
            out = Path(name) / f"out.{kind}"
            words = ["export", str(masks), str(out), "--quiet", "--set", f"tolerance={tolerance}"]
            seconds, mib = timed([sys.executable, "-c", EXPORT, *words])
            count = (-(-side // 30)) ** 2
            found[kind] = {
                "polygons": count,
                "seconds": round(seconds, 2),
                "polygons_per_second": round(count / seconds),
                "mpx_per_second": round(side**2 / 1e6 / seconds, 1),
                "peak_mib": mib,
                "output_mib": round(out.stat().st_size / 2**20, 1),
            }
            out.unlink()
            print(f"{kind}: {found[kind]}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=30000, help="pixels per side")
    parser.add_argument(
        "--kinds", nargs="+", choices=["parquet", "gpkg", "geojson"], default=["parquet", "gpkg"]
    )
    parser.add_argument("--tolerance", type=float, default=0.0)
    chosen = parser.parse_args()
    found = measure(chosen.side, chosen.kinds, chosen.tolerance)
    report = {
        "benchmark": "polygons",
        **facts(),
        "side": chosen.side,
        "tolerance": chosen.tolerance,
        "runs": found,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
