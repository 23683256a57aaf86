"""What is left of the disk's and codecs' speed when the network costs next to nothing.

    python benchmarks/identity.py [--side 8192] [--rounds 5]

An identity network from store to store, against a bare loop that reads the same blocks and writes the same
shards with the same codecs. Both take turns; each prediction is compared with the loops around it.
Prints JSON.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from end_to_end import say
from inputs import tissue, write_image
from machine import facts
from numpy.typing import NDArray
from rates import Run, timed
from torch import Tensor, nn

from unet_batch.prediction.config import PredictConfig
from unet_batch.store.image import Image
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box


class Values(nn.Module):
    """Its input: for an image of values in, the same values out as float32."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class Labels(nn.Module):
    """Logits whose best class is the input's value: for an image of labels in, the same labels out."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Conv2d(1, 3, 1)  # 2 k x - k^2: highest where k is nearest to x
        with torch.no_grad():
            k = torch.arange(3.0)
            self.logits.weight.copy_(2 * k.view(3, 1, 1, 1))
            self.logits.bias.copy_(-k * k)  # type: ignore[union-attr]  # it has one

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.logits(x)
        return logits


class Mask(nn.Module):
    """A logit that is positive where the input is 1 and negative where it is 0: the same mask out."""

    def forward(self, x: Tensor) -> Tensor:
        return x - 0.5


CASES: dict[str, tuple[nn.Module, str]] = {
    "mask: uint8 to uint8": (Mask(), "multilabel"),
    "labels: uint8 to uint8": (Labels(), "multiclass"),
    "values: uint8 to float32": (Values(), "regression"),
}
NAMES = {"multiclass": ["dark", "middle", "bright"], "multilabel": ["dark"], "regression": ["value"]}


def write_program(path: Path, network: nn.Module, head: str) -> Path:
    """``network`` as TorchScript with its spec beside it."""
    spec = {"architecture": "exported", "in_channels": 1, "classes": NAMES[head], "head": head}
    spec |= {"margin": 0, "exact": True}
    torch.jit.script(network).save(str(path))  # type: ignore[no-untyped-call]
    path.with_suffix(".yaml").write_text(json.dumps(spec), encoding="utf-8")  # JSON is YAML
    return path


def label_image(side: int, edges: tuple[int, ...]) -> NDArray[np.uint8]:
    """(1, side, side): 0, 1, ... by the brightness of the tissue, with outlines as fine as real ones."""
    return np.digitize(tissue(side)[:1], edges).astype(np.uint8)


def bare_loop(image: Path, like: Path, out: Path, threads: int) -> float:
    """Pixels per second of reading every block and writing it as shards laid out as those of ``like``."""
    shutil.rmtree(out, ignore_errors=True)
    source, layout = Image.open(image), Masks.open(like).layout
    target = Masks.create(out, layout, {}).layers["labels"]
    boxes = list(target.shards(0))

    def copy(box: Box) -> None:
        pixels = source.read(box).astype(layout.dtype, copy=False)
        strides = [(slice(None), *(slice(None, None, 2**k),) * 2) for k in range(target.written_levels)]
        target.write_block(box, [np.ascontiguousarray(pixels[stride]) for stride in strides])

    began = time.perf_counter()
    with pool(threads) as apply:
        for _ in apply(copy, boxes):
            pass
    return sum(box.size for box in boxes) / (time.perf_counter() - began)


@contextmanager
def pool(threads: int) -> Iterator[Callable[..., Iterator[None]]]:
    """``map`` on so many threads; on one, without any pool."""
    if threads == 1:
        yield map
    else:
        with ThreadPoolExecutor(threads) as executor:
            yield executor.map


def measure(case: str, image: Path, folder: Path, rounds: int, levels: Any) -> dict[str, Any]:
    """Loop, prediction, loop, ..., loop; the loop is that of one or two threads, whichever is faster."""
    model = write_program(folder / "identity.ts", *CASES[case])
    out, copied = folder / "masks.zarr", folder / "copy.zarr"
    config = PredictConfig(block=2048, tile=1024, levels=levels, backend="openvino", precision="fp32")

    def bare() -> dict[int, float]:
        return {threads: bare_loop(image, out, copied, threads) for threads in (1, 2)}

    timed(image, out, model, config)
    check(image, out)
    loops, runs = [bare()], []
    for number in range(rounds):
        runs.append(timed(image, out, model, config))
        loops.append(bare())
        say(f"{case}, levels {levels}, round {number + 1}: {runs[-1].steady / max(loops[-1].values()):.3f}")
    return comparison(loops, runs, out)


def check(image: Path, out: Path) -> None:
    """Refuse to report anything of an identity that is none."""
    source, masks = Image.open(image), Masks.open(out)
    for box in masks.layers["labels"].shards(0):
        if not np.array_equal(source.read(box), masks.read(box)):
            raise SystemExit(f"error: {out} differs from {image} in {box}; report this as a bug")


def comparison(loops: list[dict[int, float]], runs: list[Run], out: Path) -> dict[str, Any]:
    """Rates in megapixels per second, the medians of their ratios, and bytes."""
    beside = [mean(max(loop.values()) for loop in loops[k : k + 2]) for k in range(len(runs))]
    ratios = sorted(run.steady / bare for run, bare in zip(runs, beside, strict=True))
    levels = Masks.open(out).layers["labels"]
    written = sum(levels.levels[k].zarray.nbytes for k in range(levels.written_levels))
    return {
        "share_of_bare_loop": {
            "steady_state": round(median(ratios), 3),
            "smallest": round(ratios[0], 3),
            "largest": round(ratios[-1], 3),
        },
        "megapixels_per_second": {
            "bare_loop_1_thread": [round(loop[1] / 1e6, 1) for loop in loops],
            "bare_loop_2_threads": [round(loop[2] / 1e6, 1) for loop in loops],
            "steady_state": [round(run.steady / 1e6, 1) for run in runs],
            "whole_call": [round(run.whole / 1e6, 1) for run in runs],
        },
        "bytes": {
            "needed": runs[-1].needed_bytes,
            "decoded": runs[-1].decoded_bytes,
            "written_decoded": written,
            "written_on_disk": sum(file.stat().st_size for file in out.rglob("c/**/*") if file.is_file()),
        },
        "stage_seconds_per_second": runs[-1].stage_share(),
    }


def main() -> None:
    """Measure all cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=8192, help="pixels per side of the image")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    report: dict[str, Any] = {"benchmark": "identity", "side": chosen.side, **facts(), "cases": {}}
    with TemporaryDirectory() as name:
        folder = Path(name)
        images = {
            "multiclass": write_image(folder / "labels.zarr", label_image(chosen.side, (100, 180))),
            "multilabel": write_image(folder / "mask.zarr", label_image(chosen.side, (140,))),
            "regression": write_image(folder / "values.zarr", tissue(chosen.side)[:1]),
        }
        for case, (_, head) in CASES.items():
            for levels in (1, "auto"):
                found = measure(case, images[head], folder, chosen.rounds, levels)
                report["cases"][f"{case}, levels {levels}"] = found
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
