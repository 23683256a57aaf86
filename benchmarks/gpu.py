"""Networks on one CUDA device, alone and from Zarr store to mask store.

    python benchmarks/gpu.py --out gpu.json    # under 280 s; run again, it goes on where it was
    UNET_BATCH_SIMULATED='{"count": 1}' python benchmarks/gpu.py --quick --out /tmp/gpu.json    # a rehearsal

Each case is printed when it ends, and the JSON is written as it grows. It needs the package, torch and numpy.

- ``forward``: megapixels of output per second of a network in eager mode, compiled, and as a captured graph
  without and with fused convolutions: asynchronous calls on one input, so that the host is never waited for;
  and its share of what the card's arithmetic allows.
- ``end_to_end``: ``predict`` over an image large enough for ``--seconds`` of the device's work. The image's
  shards are hard links to one, so that it costs no disk. Its rate beside the graph's, and seconds by stage.
- ``stages``: seconds of one block in each stage alone: read and decode, copy in, compute, copy out, encode
  and write.
- ``training``: steps per second on one batch that lies on the device. (benchmarks/feeding.py feeds them.)
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from machine import facts
from torch.utils.flop_counter import FlopCounterMode

from unet_batch.atomic import atomic_write
from unet_batch.devices.claim import SIMULATED
from unet_batch.devices.device import Device, cuda_works, open_device
from unet_batch.engine.progress import Hooks
from unet_batch.errors import one_line
from unet_batch.models.build import build
from unet_batch.models.checkpoint import save_checkpoint
from unet_batch.models.device import prepare
from unet_batch.models.feed import Feed
from unet_batch.models.layers import channels_last
from unet_batch.models.normalise import Affine
from unet_batch.models.runtime import Backend, Runtime
from unet_batch.models.spec import ModelSpec
from unet_batch.prediction.autotuner import assume
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.nodata import NoData
from unet_batch.prediction.output import layout_of
from unet_batch.prediction.planning import make_plan
from unet_batch.prediction.predictor import Predictor
from unet_batch.prediction.request import Request
from unet_batch.prediction.run import predict
from unet_batch.schedule.events import Event
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout
from unet_batch.store.layout import PyramidLayout
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

BLOCK = 4096
BF16_FLOPS = {"H100": 790e12, "H200": 790e12, "A100": 260e12}  # per second; what large matrix products reach


@dataclass(frozen=True, slots=True)
class Case:
    """A network, the output of one tile on each axis, and tiles per call."""

    name: str
    keys: Mapping[str, Any]
    tile: int
    batch: int = 1


RGB = {"in_channels": 3, "classes": ["a", "b", "c"]}
CASES = (
    Case("unet-2015", {"preset": "unet-2015"}, 2048),
    Case("width 32, same", {**RGB, "width": 32, "padding": "same"}, 2048),
    Case("width 16, valid", {**RGB, "width": 16, "norm": "batch"}, 2048),
    Case("unet3d-2016", {"preset": "unet3d-2016"}, 128),
)
QUICK = (
    Case("unet-2015", {"in_channels": 1, "classes": ["a", "b"], "width": 4, "depth": 2}, 64),
    Case("width 32, same", {**RGB, "width": 4, "depth": 2, "padding": "same"}, 64),
    Case("unet3d-2016", {"dims": 3, "in_channels": 1, "classes": ["a", "b"], "width": 4, "depth": 1}, 16),
)
FORMS: dict[str, tuple[Backend, bool]] = {
    "eager": ("eager", False),
    "graph": ("eager", True),
    "fused graph": ("fused", True),
    "compile": ("compile", False),
}


def spec_of(case: Case) -> ModelSpec:
    """The network's description."""
    return ModelSpec.model_validate({"normalisation": {"mean": [127.5], "std": [64.0]}, **case.keys})


def calls(device: Device, work: Callable[[], None], seconds: float) -> float:
    """Calls per second, enqueued one behind the other for at least so long."""
    work()
    device.synchronize()
    count, began = 1, time.perf_counter()
    while True:
        for _ in range(count):
            work()
        device.synchronize()
        spent = time.perf_counter() - began
        if spent >= seconds:
            return count / spent
        count, began = max(2 * count, int(count * seconds / max(spent, 1e-6)) + 1), time.perf_counter()


def forward(case: Case, device: Device, tile: int, seconds: float) -> dict[str, Any]:
    """Rates of a network in its three forms."""
    spec = spec_of(case)
    shape = (case.batch, spec.in_channels, *(spec.input_size(tile),) * spec.dims)
    pixels = case.batch * tile**spec.dims
    module = build(spec, seed=0).eval()
    affine = Affine((127.5,) * spec.in_channels, (1 / 64,) * spec.in_channels)
    report: dict[str, Any] = {"input": shape, "pixels": pixels, "precision": "bf16"}
    with torch.inference_mode():
        x = device.empty(shape, torch.uint8).fill_(100)
        for form, (backend, captured) in FORMS.items():
            if backend == "compile" and os.environ.get(SIMULATED):
                continue
            try:
                runtime = Runtime(device.name, "bf16", backend)
                network = prepare(module, spec, runtime, Feed(shape, torch.uint8, affine))
                out = network(x).argmax(dim=1).to(torch.uint8)

                def work(network: Any = network, out: Any = out) -> None:
                    out.copy_(network(x).argmax(dim=1))

                repeated = device.capture(work) if captured else work
                report[form] = round(calls(device, repeated, seconds) * pixels / 1e6, 3)
            except Exception as error:  # noqa: BLE001 - what does not run is told beside what does
                report[form] = one_line(error)
            device.release()
    return report


def flops_per_pixel(case: Case, tile: int) -> float:
    """Of one call, over its output pixels."""
    spec = spec_of(case)
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        build(spec)(torch.zeros(1, spec.in_channels, *(spec.input_size(tile),) * spec.dims))
    return float(counter.get_total_flops() / tile**spec.dims)


def linked_image(path: Path, spec: ModelSpec, side: int, block: int) -> Path:
    """An image whose shards are all links to one shard of noise."""
    dims, channels = spec.dims, spec.in_channels
    axes = ("c" if channels > 1 else "") + "zyx"[-dims:]
    chunk = 512 if dims == 2 else 128
    layout = PyramidLayout(
        axes, (side,) * dims, channels, "uint8", (block,) * dims, (min(chunk, block),) * dims, dims, levels=1
    )
    writer = Image.create(path, ImageLayout(layout))
    noise = (
        np.random.default_rng(0).normal(127, 40, (channels, *(block,) * dims)).clip(0, 255).astype(np.uint8)
    )
    writer.write_block(Box((0,) * dims, (block,) * dims), noise)
    writer.finish()
    (first,) = [file for file in (path / "0" / "c").rglob("*") if file.is_file()]
    lead = first.relative_to(path / "0").parts[:-dims]
    for index in np.ndindex(*(side // block,) * dims):
        target = (path / "0").joinpath(*lead, *map(str, index))
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.link(first, target)
    return path


def end_to_end(case: Case, folder: Path, rate: float, seconds: float, block: int) -> dict[str, Any]:
    """One prediction of about ``seconds`` at ``rate`` megapixels per second."""
    spec = spec_of(case)
    side = max(2, round((rate * 1e6 * seconds) ** (1 / spec.dims) / block)) * block
    image = linked_image(folder / "image.zarr", spec, side, block)
    model = folder / "network.safetensors"
    save_checkpoint(model, build(spec, seed=0), spec)
    stages: dict[str, float] = {}
    arrivals: list[float] = []

    def observe(event: Event | None, _progress: object) -> None:
        if event is not None:
            arrivals.append(time.perf_counter())
            for stage, taken in event.stages.items():
                stages[stage] = stages.get(stage, 0.0) + taken

    config = PredictConfig(block=block, precision="bf16", backend="eager", packet_seconds=0.5)
    began = time.perf_counter()
    predict(image, folder / "masks.zarr", model, config, hooks=Hooks(observe=observe))
    whole = time.perf_counter() - began
    steady = (len(arrivals) - 1) * block**spec.dims / (arrivals[-1] - arrivals[0]) / 1e6
    return {
        "side": side,
        "blocks": len(arrivals),
        "seconds": round(whole, 2),
        "megapixels_per_second": round(steady, 2),
        "share_of_graph": round(steady / rate, 3),
        "stage_seconds": {stage: round(taken, 2) for stage, taken in stages.items()},
    }


def stages(case: Case, folder: Path, device: Device, block: int) -> dict[str, float]:
    """Seconds of a block in each stage alone, the best of three; work on the device ends by an event."""
    spec = spec_of(case)
    image = linked_image(folder / "image.zarr", spec, block, block)
    model = folder / "network.safetensors"
    save_checkpoint(model, build(spec, seed=0), spec)
    config = PredictConfig(block=block, precision="bf16", backend="eager", device=device.name)
    request = Request.open(str(image), [str(model)], config, None)
    plan = make_plan(request, assume(request))
    network = Predictor(plan, [str(model)], plan.runtime(device.name, None), 1, 255)
    box = plan.blocks.box(0)
    opened, masks = Image.open(image), Masks.create(folder / "masks.zarr", layout_of(plan, request), {})
    hull = NoData.open(plan, opened).read(opened, plan.tiles.read_box(box), box)[0]
    staged = device.pinned(hull.shape, torch.from_numpy(hull).dtype)
    np.copyto(staged.numpy(), hull)
    pixels = device.upload(staged)
    labels = network.layers(pixels, None, box, None)[0]["labels"][0]
    back = device.pinned(labels.shape, labels.dtype)
    device.download(labels, back)
    device.synchronize()
    written = {name: [back.numpy()] * layer.written_levels for name, layer in masks.layers.items()}
    work: dict[str, Callable[[], object]] = {
        "read, decode": lambda: opened.read(box),
        "copy in": lambda: device.upload(staged, pixels),
        "compute": lambda: network.layers(pixels, None, box, None),
        "copy out": lambda: device.download(labels, back),
        "encode, write": lambda: masks.layers["labels"].write(box, written["labels"][0]),
    }
    return {name: round(min(alone(device, act) for _ in range(3)), 6) for name, act in work.items()}


def alone(device: Device, act: Callable[[], object]) -> float:
    """Seconds until the event behind the work has come."""
    device.synchronize()
    began = time.perf_counter()
    act()
    device.current_stream().record().synchronize()
    return time.perf_counter() - began


def training(dims: int, device: Device, seconds: float, side: int) -> dict[str, Any]:
    """Forward, loss, backward and update on one batch."""
    spec = ModelSpec(
        dims=dims, in_channels=1, classes=("a", "b"), width=32, depth=4, padding="same", norm="batch"
    )
    network = device.move(build(spec, seed=0).train())
    network = network.to(memory_format=channels_last(dims))  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    images = device.upload(torch.zeros(4, 1, *(side,) * dims))
    labels = device.upload(torch.zeros(4, *(side,) * dims, dtype=torch.int64))

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=torch.cuda.is_available()):
            loss = torch.nn.functional.cross_entropy(network(images).float(), labels)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    rate = calls(device, step, seconds)
    return {
        "batch": 4,
        "patch": side,
        "steps_per_second": round(rate, 2),
        "images_per_second": round(4 * rate, 1),
    }


def measured(report: dict[str, Any], device: Device, chosen: argparse.Namespace) -> Iterator[str]:
    """Fill ``report`` case by case; the names of what was measured now."""
    seconds, cases = (0.2, QUICK) if chosen.quick else (3.0, CASES)
    for case in cases:
        if (name := f"forward: {case.name}") not in report["cases"]:
            found = forward(case, device, case.tile, seconds)
            found["mflop_per_pixel"] = round(flops_per_pixel(case, case.tile) / 1e6, 3)
            report["cases"][name] = found | share_of_arithmetic(found, chosen.card)
            yield name
    for dims, patch in ((2, 512), (3, 96)):
        if (name := f"training: {dims}-D") not in report["cases"]:
            report["cases"][name] = training(dims, device, seconds, 16 if chosen.quick else patch)
            yield name
    for case in cases[:2]:
        if (name := f"stages: {case.name}") not in report["cases"]:
            with TemporaryDirectory() as folder:
                report["cases"][name] = stages(case, Path(folder), device, 128 if chosen.quick else BLOCK)
            yield name
        rate = report["cases"][f"forward: {case.name}"].get("graph")
        if (name := f"end to end: {case.name}") not in report["cases"] and isinstance(rate, float):
            wanted, block = (1.0, 128) if chosen.quick else (chosen.seconds, BLOCK)
            with TemporaryDirectory() as folder:
                report["cases"][name] = end_to_end(case, Path(folder), rate, wanted, block)
            yield name


def share_of_arithmetic(found: dict[str, Any], card: str) -> dict[str, Any]:
    """What the fastest form makes of the card's large matrix products."""
    peak = next((flops for name, flops in BF16_FLOPS.items() if name in card), None)
    rates = [rate for form in FORMS if isinstance(rate := found.get(form), float)]
    if peak is None or not rates:
        return {}
    return {"share_of_arithmetic": round(max(rates) * found["mflop_per_pixel"] * 1e12 / peak, 3)}


def main() -> None:
    """Measure what the JSON does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu.json")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the device's work, end to end")
    parser.add_argument("--quick", action="store_true", help="small sizes, to rehearse it")
    chosen = parser.parse_args()
    if not cuda_works():
        print("error: torch sees no CUDA device; run this on a machine with one", file=sys.stderr)
        raise SystemExit(2)
    simulated = bool(os.environ.get(SIMULATED))
    chosen.card = "simulated" if simulated else torch.cuda.get_device_name()
    report: dict[str, Any] = {"benchmark": "gpu", **facts(), "card": chosen.card, "cases": {}}
    report["versions"]["cuda"] = torch.version.cuda
    if chosen.out.exists():
        report["cases"] = json.loads(chosen.out.read_text(encoding="utf-8"))["cases"]
    for name in measured(report, open_device("cuda:0"), chosen):
        atomic_write(chosen.out, json.dumps(report, indent=2) + "\n")
        print(name, json.dumps(report["cases"][name]), flush=True)


if __name__ == "__main__":
    main()
