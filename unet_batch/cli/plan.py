"""``unet-batch plan``."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unet_batch.cli import options

if TYPE_CHECKING:
    from unet_batch.prediction.autotuner import Autotuner
    from unet_batch.prediction.estimate import Estimate
    from unet_batch.prediction.plan import Choice, Plan


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--model", "models", multiple=True, required=True, help="Checkpoint; several are averaged.")
@options.settings("predict")
@options.axes
@click.option("--calibrate", is_flag=True, help="Run the networks for some seconds.")
@options.as_json
def command(
    image: Path,
    out: Path,
    models: tuple[str, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    axes: str | None,
    **flags: bool,
) -> None:
    """Print what `predict` with the same arguments would do and cost. Writes nothing."""
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.prediction.autotuner import Autotuner, assume  # noqa: PLC0415
    from unet_batch.prediction.config import PredictConfig  # noqa: PLC0415
    from unet_batch.prediction.estimate import Estimate  # noqa: PLC0415
    from unet_batch.prediction.planning import make_plan  # noqa: PLC0415
    from unet_batch.prediction.request import Request  # noqa: PLC0415
    from unet_batch.prediction.resources import threads  # noqa: PLC0415
    from unet_batch.prediction.scale import remark  # noqa: PLC0415

    config = load(PredictConfig, config_file, overrides)
    request = Request.open(str(image), models, config, axes)
    if flags["calibrate"]:
        choice = _in_a_child(Autotuner(str(image), models, config, axes, threads(config), measure=True))
    else:
        choice = assume(request)
    plan = make_plan(request, choice)
    estimate = Estimate.of(plan, config, choice)
    if flags["as_json"]:
        values = {"out": str(out), "plan_hash": plan.hash, "exact": plan.exact, **asdict(estimate)}
        options.echo_json({**values, "plan": plan.model_dump(mode="json")})
    else:
        _show(plan, estimate)
        if said := remark(request.image, request.spec.pixel_size):
            click.echo(f"  remark: {said}")


def _in_a_child(trial: "Autotuner") -> "Choice":
    """The trial's answer, from a process of its own: this one stays without torch."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(trial).result()


def _show(plan: "Plan", estimate: "Estimate") -> None:
    part, compute = plan.grid, plan.compute
    exact = "equals one untiled pass, to rounding" if plan.exact else "tiles are blended: not exact"
    lines = {
        "plan": plan.hash[:16],
        "image": f"{_by(plan.image.shape)} px of level {plan.image.level}, "
        f"{options.no_data(plan.image.nodata)}{len(plan.image.channels)} channels {plan.image.dtype}",
        "compute": f"{compute.device}, {compute.precision}, {compute.backend}, batch {compute.batch}",
        "blocks": f"{estimate.blocks:,} of {_by(part.block)} px",
        "tiles": f"{estimate.tiles:,} of {_by(part.tile)} px, each reads {_by(plan.input_shape[2:])}",
        "margin": f"{estimate.margin:.2f} pixels computed for each pixel kept",
        "result": exact,
        "reads": f"{options.count_of(estimate.bytes_read)}B of pixels",
        "writes": f"at most {options.count_of(estimate.bytes_written)}B of pixels, before compression",
        "memory": f"{options.count_of(estimate.worker_bytes)}B a worker, "
        f"{options.count_of(estimate.driver_bytes)}B for the ledger",
        "time": _time(estimate),
    }
    for key, value in lines.items():
        click.echo(f"{key:>8}: {value}")


def _time(estimate: "Estimate") -> str:
    if estimate.rate is None or estimate.hours is None:
        return "unknown until measured; add --calibrate"
    return f"{options.duration(3600 * estimate.hours)} at {options.count_of(estimate.rate)}px/s of network"


def _by(extents: tuple[int, ...]) -> str:
    return " x ".join(map(str, extents))
