"""Ours, MONAI's sliding window and torch-em's blocked prediction: same weights, image, own defaults.

    python benchmarks/peers.py [--side 2048] [--rounds 3] [--model PADDED.safetensors]

Without --model a network is trained first, some minutes (stains.py).

Needs monai and torch-em beside unet_batch; those that cannot be imported are left out. MONAI is on PyPI.
torch-em is not: clone constantinpape/torch-em and put the clone and what its setup.py names on the path.
The peers run as a person would run them: the image loaded whole, fp32, the answer's arg-max written to Zarr.
They have no start-up to pay here (all is imported, the network is loaded); ours pays all of it in
`whole_call` and none in `after_start`. All take turns. Prints JSON.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from end_to_end import say, settings
from inputs import PADDED, tissue, write_image
from machine import facts, installed
from numpy.typing import NDArray
from rates import fixed, plan_at, timed
from stains import train

from unet_batch.models import normalise
from unet_batch.models.checkpoint import load_checkpoint, read_card
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.plan import Plan
from unet_batch.store.arrays import create_array
from unet_batch.store.image import Image
from unet_batch.store.layout import ArrayLayout
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

ROI, HALO = 512, 96
Labels = NDArray[np.uint8]
Peer = Callable[[torch.nn.Module, NDArray[np.float32]], NDArray[np.float32]]


def monai_window(network: torch.nn.Module, x_CYX: NDArray[np.float32]) -> NDArray[np.float32]:
    """Windows of 512 that overlap by a quarter and count alike (its defaults), one at a time."""
    from monai.inferers import sliding_window_inference  # type: ignore[import-not-found]  # noqa: PLC0415

    with torch.inference_mode():
        answer = sliding_window_inference(torch.from_numpy(x_CYX)[None], (ROI, ROI), 1, network)
    return np.asarray(answer[0].numpy())


def torch_em_halo(network: torch.nn.Module, x_CYX: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blocks of 512 with a halo of 96."""
    from torch_em.util.prediction import predict_with_halo  # type: ignore[import-not-found]  # noqa: PLC0415

    return _torch_em(predict_with_halo, network, x_CYX)


def torch_em_pipelined(network: torch.nn.Module, x_CYX: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same on threads that read, predict and write."""
    from torch_em.util.prediction import predict_with_halo_pipelined  # noqa: PLC0415

    return _torch_em(predict_with_halo_pipelined, network, x_CYX)


def _torch_em(predict: Any, network: torch.nn.Module, x_CYX: NDArray[np.float32]) -> NDArray[np.float32]:
    output = np.zeros((len(PADDED["classes"]), *x_CYX.shape[1:]), np.float32)
    # preprocess: its default takes statistics of each block, which these weights do not know.
    predict(
        x_CYX, network, ["cpu"], (ROI, ROI), (HALO, HALO), output=output, preprocess=None,
        with_channels=True, disable_tqdm=True,
    )  # fmt: skip
    return output


PEERS: dict[str, tuple[str, Peer]] = {
    "monai": ("monai", monai_window),
    "torch_em predict_with_halo": ("torch_em", torch_em_halo),
    "torch_em predict_with_halo_pipelined": ("torch_em", torch_em_pipelined),
}


def available() -> dict[str, Peer]:
    """The peers that can be imported here."""
    found = {}
    for name, (module, peer) in PEERS.items():
        try:
            __import__(module)
        except ImportError as error:
            say(f"{name}: left out ({error}); see the head of this file")
        else:
            found[name] = peer
    return found


def peer_run(
    peer: Peer, network: torch.nn.Module, plan: Plan, image: Path, out: Path
) -> tuple[float, Labels]:
    """Pixels per second from Zarr to Zarr, and the labels."""
    began = time.perf_counter()
    source = Image.open(image)
    pixels = torch.from_numpy(source.read(Box.of_shape(source.shape)))
    answer = peer(network, normalise.apply(pixels[None], plan.affine)[0].numpy())
    labels = answer.argmax(axis=0).astype(np.uint8)
    box = Box.of_shape(labels.shape)
    create_array(out, ArrayLayout(labels.shape, "uint8", labels.shape, (512, 512)), replace=True).write_shard(
        box, labels
    )
    return labels.size / (time.perf_counter() - began), labels


def untiled(network: torch.nn.Module, plan: Plan, image: Path) -> Labels:
    """Labels of one fp32 pass over all of the image, mirrored by the network's margin: the truth."""
    margin = plan.grid.before[-1]
    pixels = torch.from_numpy(Image.open(image).read(Box.of_shape(plan.image.shape)))[None]
    x = normalise.apply(pixels, plan.affine)
    padded = torch.nn.functional.pad(x, (margin,) * 4, mode="reflect")
    with torch.inference_mode():
        answer = network(padded)[0, :, margin:-margin, margin:-margin]
    return np.asarray(answer.argmax(dim=0).numpy(), np.uint8)


def measure(folder: Path, model: Path, side: int, rounds: int) -> dict[str, Any]:
    """All take turns ``rounds`` times; agreement is of the labels of the last round."""
    image, out = write_image(folder / "image.zarr", tissue(side)), folder / "masks.zarr"
    network = load_checkpoint(model)[0]
    timed(image, out, model, PredictConfig())
    plan = plan_at(out)
    config = fixed(PredictConfig(), plan)
    rates: dict[str, list[float]] = {}
    labels: dict[str, Labels] = {}
    for number in range(rounds):
        run = timed(image, out, model, config)
        rates.setdefault("ours whole_call", []).append(run.whole)
        rates.setdefault("ours after_start", []).append(run.after_start)
        for name, peer in available().items():
            rate, labels[name] = peer_run(peer, network, plan, image, folder / "peer.zarr")
            rates.setdefault(name, []).append(rate)
        say(f"round {number + 1}: { {name: round(found[-1] / 1e6, 3) for name, found in rates.items()} }")
    labels["ours"] = Masks.open(out).read(Box.of_shape((side, side)))[0]
    truth = untiled(network, plan, image)
    return {
        "side": side,
        "network": {"width": PADDED["width"], "padding": "same", **read_card(model)},
        "ours": settings(plan),
        "theirs": {"precision": "fp32", "roi": ROI, "monai_overlap": 0.25, "torch_em_halo": HALO},
        **comparison(rates, labels, truth),
    }


def comparison(rates: dict[str, list[float]], labels: dict[str, Labels], truth: Labels) -> dict[str, Any]:
    """Rates, medians of ratios within a round, and shares of equal labels."""
    peers = [name for name in rates if name in labels]

    def times(mine: str, peer: str) -> float:
        return round(median(a / b for a, b in zip(rates[mine], rates[peer], strict=True)), 2)

    return {
        "megapixels_per_second": {name: [round(r / 1e6, 3) for r in found] for name, found in rates.items()},
        "times_faster": {
            peer: {kind: times(f"ours {kind}", peer) for kind in ("whole_call", "after_start")}
            for peer in peers
        },
        "labels_equal_to_ours": {peer: equal(labels[peer], labels["ours"]) for peer in peers},
        "labels_equal_to_untiled_fp32": {name: equal(found, truth) for name, found in labels.items()},
        "class_shares": [round(float((truth == k).mean()), 3) for k in range(len(PADDED["classes"]))],
    }


def equal(a: Labels, b: Labels) -> float:
    """Share of equal labels."""
    return round(float((a == b).mean()), 6)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=2048, help="pixels per side of the image")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", type=Path, help="what an earlier stains.py trained")
    chosen = parser.parse_args()
    if not available():
        raise SystemExit("error: neither monai nor torch_em can be imported; see the head of this file")
    with TemporaryDirectory() as name:
        model = chosen.model or train(Path(name) / "padded.safetensors", PADDED)
        found = measure(Path(name), model, chosen.side, chosen.rounds)
    print(json.dumps({"benchmark": "peers", **facts(), **peer_versions(), **found}, indent=2))


def peer_versions() -> dict[str, Any]:
    """torch-em is mostly run from a clone, which has no metadata of an installed package."""
    try:
        from torch_em import __version__  # type: ignore[import-not-found]  # noqa: PLC0415
    except ImportError:
        __version__ = installed("torch_em")
    return {"torch_em_version": __version__}


if __name__ == "__main__":
    main()
