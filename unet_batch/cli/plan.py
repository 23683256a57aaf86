"""``unet-batch plan``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unet_batch.cli import options

if TYPE_CHECKING:
    from unet_batch.prediction.estimate import Estimate
    from unet_batch.prediction.forecast import Scenario
    from unet_batch.prediction.plan import Plan


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--model", "models", multiple=True, required=True, help="Checkpoint; several are averaged.")
@options.settings("predict")
@options.axes
@options.series
@options.pixel_size
@click.option("--calibrate", is_flag=True, help="Run the networks for some seconds, and try the disk at OUT.")
@options.as_json
def command(
    image: Path,
    out: Path,
    models: tuple[str, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    axes: str | None,
    **given: Any,
) -> None:
    """Print what `predict` with the same arguments would do and cost. Leaves nothing behind.

    --calibrate says the hours on this machine's devices, on 1, 8 and 64, and what bounds them.
    """
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.prediction.autotuner import Autotuner, assume  # noqa: PLC0415
    from unet_batch.prediction.config import PredictConfig  # noqa: PLC0415
    from unet_batch.prediction.estimate import Estimate  # noqa: PLC0415
    from unet_batch.prediction.forecast import scenarios, tried  # noqa: PLC0415
    from unet_batch.prediction.planning import make_plan  # noqa: PLC0415
    from unet_batch.prediction.request import Request  # noqa: PLC0415
    from unet_batch.prediction.resources import threads  # noqa: PLC0415
    from unet_batch.prediction.scale import remark  # noqa: PLC0415

    calibrate, as_json = given.pop("calibrate"), given.pop("as_json")
    config = load(PredictConfig, config_file, (*overrides, *options.told(**given)))
    request = Request.open(str(image), models, config, axes)
    if calibrate:
        choice = tried(Autotuner(str(image), models, config, axes, threads(config), measure=True))
    else:
        choice = assume(request)
    plan = make_plan(request, choice)
    estimate = Estimate.of(plan, config, choice)
    found = scenarios(request, plan, estimate, choice, out) if calibrate else []
    if as_json:
        values = {"out": str(out), "plan_hash": plan.hash, "exact": plan.exact, **asdict(estimate)}
        values["scenarios"] = [asdict(scenario) for scenario in found]
        options.echo_json({**values, "plan": plan.model_dump(mode="json")})
    else:
        _show(plan, estimate)
        _show_scenarios(found)
        if said := remark(request.image, request.spec.pixel_size):
            click.echo(f"  remark: {said}")


def _show(plan: "Plan", estimate: "Estimate") -> None:
    part, compute = plan.grid, plan.compute
    exact = "equals one untiled pass, to rounding" if plan.exact else "tiles are blended: not exact"
    lines = {
        "plan": plan.hash[:16],
        "image": f"{_by(plan.image.shape)} px of level {plan.image.level}, "
        f"{_resampled(plan)}{options.no_data(plan.image.nodata)}{len(plan.image.channels)} channels "
        f"{plan.image.dtype}",
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


def _show_scenarios(found: "list[Scenario]") -> None:
    for one in found:
        parts = ", ".join(f"{name} {options.duration(3600 * hours)}" for name, hours in one.stages.items())
        devices = f"{one.devices} device{'s' * (one.devices > 1)}"
        time = options.duration(3600 * one.hours)
        click.echo(f"{devices:>11}: {time}, bounded by {one.bound} ({parts})")


def _resampled(plan: "Plan") -> str:
    ratio = plan.image.resample
    return "" if ratio is None else f"resampled by {1 / ratio[0]:.4g}, "


def _time(estimate: "Estimate") -> str:
    if estimate.rate is None or estimate.hours is None:
        return "unknown until measured; add --calibrate"
    return f"{options.duration(3600 * estimate.hours)} at {options.count_of(estimate.rate)}px/s of network"


def _by(extents: tuple[int, ...]) -> str:
    return " x ".join(map(str, extents))
