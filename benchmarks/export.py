"""Export of a large mask to a COG, beside gdal_translate and rio-cogeo on the same: rate and peak memory.

    python benchmarks/export.py [--side 20000] [--rounds 1] [--kinds cog ome-tiff ...]

Each runs in processes of its own, in turns. The others start from a plain tiled TIFF of the mask, as they
read no Zarr shards; its making is not counted. Memory is the sum over a run's processes of what the kernel
saw of each (VmHWM), so an upper bound. gdal_translate is left out where it is not installed. Prints JSON.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from machine import facts, installed
from masks import blobs, write_masks
from peaks import POLL_SECONDS, peak_of

import unet_batch
from unet_batch.products.export.config import ExportConfig

KINDS = {"cog": "ours.tif", "ome-tiff": "ours.ome.tif", "parts": "parts", "parquet": "ours.parquet"}
EXPORT = "import sys; from unet_batch.cli.main import main; sys.argv[0] = 'unet-batch'; main()"
COGEO = """
import sys
from rio_cogeo import cog_profiles, cog_translate
profile = {**cog_profiles.get("deflate"), "ZLEVEL": 6}
cog_translate(sys.argv[1], sys.argv[2], profile, overview_resampling="mode", nodata=255, quiet=True,
              in_memory=False, config={"GDAL_NUM_THREADS": "ALL_CPUS"})
"""


class Peak(threading.Thread):
    """Sum of the peaks of a process and its children."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peaks, self.ended = process, dict[int, int](), threading.Event()

    def run(self) -> None:
        while not self.ended.wait(POLL_SECONDS):
            try:
                children = psutil.Process(self.process).children(recursive=True)
            except psutil.Error:
                return
            for process in (self.process, *(child.pid for child in children)):
                self.peaks[process] = max(self.peaks.get(process, 0), peak_of(process))

    @property
    def mib(self) -> float:
        """Of all processes together."""
        return round(sum(self.peaks.values()) / 2**20, 1)


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds and MiB of a command that must succeed."""
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        peak = Peak(process.pid)
        peak.start()
        code = process.wait()
        seconds = time.perf_counter() - begun
        peak.ended.set()
    if code:
        sys.exit(f"{command[0]} ended with {code}")
    return seconds, peak.mib


def commands(folder: Path, kinds: list[str]) -> dict[str, tuple[list[str], Path]]:
    """What is measured, and what each writes."""
    found = {}
    for kind in kinds:
        out = folder / KINDS[kind]
        words = ["export", str(folder / "masks.zarr"), str(out), "--kind", kind, "--overwrite", "--quiet"]
        found[f"unet-batch {kind}"] = ([sys.executable, "-c", EXPORT, *words], out)
    plain = str(folder / "plain.tif")
    if shutil.which("gdal_translate"):
        options = ["COMPRESS=DEFLATE", "RESAMPLING=MODE", "NUM_THREADS=ALL_CPUS"]
        chosen = [word for option in options for word in ("-co", option)]
        out = folder / "gdal.tif"
        found["gdal_translate"] = (["gdal_translate", "-q", "-of", "COG", *chosen, plain, str(out)], out)
    if installed("rio-cogeo"):
        out = folder / "cogeo.tif"
        found["rio-cogeo"] = ([sys.executable, "-W", "ignore", "-c", COGEO, plain, str(out)], out)
    return found


def measure(side: int, rounds: int, kinds: list[str]) -> dict[str, Any]:
    """All of them, in turns."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_masks(folder / "masks.zarr", side, blobs())
        unet_batch.export(folder / "masks.zarr", folder / "plain.tif", ExportConfig(compression="none"))
        runs: dict[str, list[tuple[float, float]]] = {}
        sizes: dict[str, int] = {}
        for _ in range(rounds):
            for what, (command, out) in commands(folder, kinds).items():
                runs.setdefault(what, []).append(timed(command))
                sizes[what] = sum(f.stat().st_size for f in [out, *out.rglob("*")] if f.is_file())
                print(f"{what}: {runs[what][-1]}", file=sys.stderr, flush=True)
    return {
        what: {
            "seconds": round(statistics.median(seconds for seconds, _ in found), 2),
            "mpx_per_second": round(side**2 / 1e6 / statistics.median(seconds for seconds, _ in found), 1),
            "peak_mib": max(mib for _, mib in found),
            "output_mib": round(sizes[what] / 2**20, 1),
        }
        for what, found in runs.items()
    }


def gdal_version() -> str:
    """That of the gdal_translate that runs; rio-cogeo brings its own."""
    if not shutil.which("gdal_translate"):
        return "not installed"
    return subprocess.run(
        ["gdal_translate", "--version"], check=True, capture_output=True, text=True
    ).stdout.strip()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=20000, help="pixels per side")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=["cog", "ome-tiff", "parts"])
    chosen = parser.parse_args()
    report = {
        "benchmark": "export",
        **facts(),
        "gdal_translate": gdal_version(),
        "side": chosen.side,
        "rounds": chosen.rounds,
        "runs": measure(chosen.side, chosen.rounds, chosen.kinds),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
