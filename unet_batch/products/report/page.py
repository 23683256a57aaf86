"""The page: facts and pictures as one HTML file that needs nothing else. Gathers nothing itself.

``page.html`` is its template, in which Jinja2 escapes whatever a name may hold; here are the numbers and
words that it shows.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from unet_batch.engine.history import RunRecord
from unet_batch.products.report import pictures
from unet_batch.products.report.facts import Facts
from unet_batch.products.report.pictures import STATUS_COLOURS, Shown
from unet_batch.products.scale import quantity
from unet_batch.store.journal import Status

Colour = tuple[int, int, int]

_MOST_RUNS = 6
_HEADROOM = 1.08  # of a chart above its highest rate
_PREFIXES = ("", " k", " M", " G", " T", " P")
_STAGES = {
    "open": "start of workers and network",
    "read": "read and decode",
    "wait": "wait for the device",
    "network": "network",
    "write": "encode and write",
}
_STATUS = {
    Status.DONE: "done",
    Status.SKIPPED: "skipped as no data",
    Status.FAILED: "failed, set aside",
    Status.PENDING: "still to do",
}


def page(facts: Facts, title: str, shown: Sequence[Shown], classes: Sequence[tuple[str, Colour]]) -> str:
    """The whole HTML document.

    Args:
        facts: what is told.
        title: its heading.
        shown: pictures, the whole first.
        classes: names and colours of what the pictures show.
    """
    layout, stages = facts.masks.layout, facts.stages
    sizes, unsized = _sizes(facts)
    done = facts.seconds[facts.statuses == Status.DONE]
    return _template().render(
        facts=facts,
        title=title,
        path=Path(facts.masks.path).absolute(),
        now=time.time(),
        figures=_figures(facts),
        shown=shown,
        classes=dict(classes),
        dims=layout.dims,
        areas=list(zip(_names(facts), facts.totals.class_counts, strict=True)),
        # Channels of multilabel masks overlap: their shares are of the pixels computed.
        whole=facts.pixels if layout.kind == "multilabel" else sum(facts.totals.class_counts),
        sizes=sizes,
        unsized=unsized,
        charts=[_chart(run, facts) for run in facts.runs if run.pixels][-_MOST_RUNS:],
        stages=[(key, _STAGES.get(key, key), stages[key]) for key in {**_STAGES, **stages} if key in stages],
        worked=sum(stages.values()),
        statuses=[
            (f"{facts.totals.blocks[status]:,} {name}", STATUS_COLOURS[status])
            for status, name in _STATUS.items()
        ],
        status_map=pictures.status_map(facts.statuses),
        seconds_map=pictures.seconds_map(facts.seconds, facts.statuses),
        ramp=pictures.ramp(),
        slowest=float(done.max()) if done.size else None,
        failed=facts.totals.blocks[Status.FAILED],
        known=_known(facts),
        plan=json.dumps(facts.plan, indent=1),
    )


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "counted": "{:,}".format,
        "duration": duration,
        "moment": _moment,
        "rate": _rate,
        "share": share,
    }
    folder = files(__package__)
    environment.globals["style"] = folder.joinpath("page.css").read_text(encoding="utf-8")
    return environment.from_string(folder.joinpath("page.html").read_text(encoding="utf-8"))


def _figures(facts: Facts) -> list[tuple[str, str, str]]:
    """Name, value and note of what stands at the head of the page."""
    run, blocks = facts.busiest, facts.totals.blocks
    kept = ("-", "no trial was timed")
    if facts.share is not None:
        kept = (f"{100 * facts.share:.0f} %", "the network alone, as the trial timed it")
    failed = f"of {sum(blocks.values()):,}, {blocks[Status.FAILED]:,} failed"
    return [
        ("pixels", f"{short(facts.pixels)}px", f"{facts.pixels:,}"),
        ("rate", _rate(run.pixels_per_second) if run else "-", "of the longest run"),
        ("share of pure forward", *kept),
        ("wall time", duration(sum(one.seconds for one in facts.runs)), _counted(len(facts.runs), "run")),
        ("blocks", f"{blocks[Status.DONE]:,}", failed),
    ]


def _names(facts: Facts) -> tuple[str, ...]:
    layout = facts.masks.layout
    return ("values",) if layout.kind == "regression" else layout.names


def _sizes(facts: Facts) -> tuple[list[str], str]:
    """The size of each class in true units, where there are such, and else why not."""
    if facts.masks.layout.unit is None and facts.masks.georef is None:
        return [], "Nothing says how large a pixel is."
    sizes, unit, dims = *facts.sizes(), facts.masks.layout.dims
    if sizes is None:
        return [], "Pixels are not all of one size: `unet-batch stats` gives areas."
    return [quantity(size, unit, dims) for size in sizes], ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Pixels per second over the time of one run, as a path in a drawing of 1000 x 100.

    Attributes:
        title: of the run.
        path: empty where the run was too short.
        forward: height of the network's own rate in the drawing, where that is shown.
        top: the highest rate shown.
        seconds: of the run.
    """

    title: str
    path: str
    forward: str
    top: float
    seconds: float


def _chart(run: RunRecord, facts: Facts) -> Chart:
    forward = facts.forward if run is facts.busiest else None
    rates = _rates(run)
    top = max([*(rate for _, _, rate in rates), forward or 0.0], default=0.0)

    def height(rate: float) -> str:
        return f"{100 * (1 - rate / (top * _HEADROOM)):.2f}"

    path = " ".join(
        f"{'L' if at else 'M'}{1000 * begin / run.seconds:.1f},{height(rate)} "
        f"L{1000 * end / run.seconds:.1f},{height(rate)}"
        for at, (begin, end, rate) in enumerate(rates)
    )
    return Chart(_told(run), path, height(forward) if forward else "", top, run.seconds)


def _rates(run: RunRecord) -> list[tuple[float, float, float]]:
    """(begin, end, pixels per second) between the points that the run kept."""
    points = [(0.0, 0), *((float(at), int(pixels)) for at, pixels in run.pace), (run.seconds, run.pixels)]
    found = []
    begin, before = points[0]
    for end, pixels in points[1:]:
        if end > begin and pixels > before:
            found.append((begin, end, (pixels - before) / (end - begin)))
            begin, before = end, pixels
    return found


def _told(run: RunRecord) -> str:
    workers = f", {_counted(len(run.workers), 'worker')}" if run.workers else ""
    remarks = "".join(f"; {remark}" for remark in run.remarks)
    rate = _rate(run.pixels_per_second)
    return f"{_moment(run.started)} on {run.host}: {rate} over {duration(run.seconds)}{workers}{remarks}"


def _known(facts: Facts) -> dict[str, Any]:
    """What is known of where the masks come from, by name."""
    said, plan = facts.provenance, facts.plan
    compute = plan.get("compute", {})
    return {
        "image": said.get("image"),
        "networks": ", ".join(map(str, said.get("models", []))),
        "their hashes": ", ".join(map(str, plan.get("model", {}).get("hashes", []))),
        "hash of the plan": facts.masks.attributes.get("plan_hash"),
        "tile": " x ".join(map(str, plan.get("grid", {}).get("tile", []))),
        "arithmetic": ", ".join(str(compute[k]) for k in ("device", "backend", "precision") if k in compute),
        "begun": said.get("created"),
        "machine": " ".join(str(said[key]) for key in ("host", "machine") if key in said),
        "versions": ", ".join(f"{name} {number}" for name, number in said.get("versions", {}).items()),
        "largest difference to an untiled pass": facts.masks.attributes.get("untiled_max_abs_diff"),
    }


def short(number: float) -> str:
    """A number by three digits and a prefix, ready for a unit: ``12.3 M``."""
    for prefix in _PREFIXES:
        if abs(number) < 999.5 or prefix == _PREFIXES[-1]:
            return f"{number:.3g}{prefix or ' '}"
        number /= 1000
    raise AssertionError("the last prefix takes all")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours with their unit."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def share(part: float, whole: float) -> str:
    """Percent of ``whole``, or a dash where that is nothing."""
    return f"{100 * part / whole:.2f} %" if whole else "-"


def _rate(pixels_per_second: float) -> str:
    return f"{short(pixels_per_second)}px/s"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"
