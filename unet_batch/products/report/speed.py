"""How fast it went: rate over time, stages, and the map of blocks, as HTML."""

import time
from html import escape

from unet_batch.engine.history import RunRecord
from unet_batch.products.report import pictures
from unet_batch.products.report.charts import rate_chart, stacked_bar
from unet_batch.products.report.facts import Facts
from unet_batch.products.report.parts import legend
from unet_batch.products.report.pictures import STATUS_COLOURS
from unet_batch.products.report.words import duration, of_rate, share
from unet_batch.store.journal import Status

_MOST_RUNS = 6
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


def rate(facts: Facts) -> str:
    """A chart per run that computed something, the last ones."""
    busy = [run for run in facts.runs if run.pixels]
    if not busy:
        return "<p class='quiet'>Nothing was computed yet.</p>"
    drawn = [
        f"<h3>{escape(_told(run))}</h3>{rate_chart(run, facts.forward if run is facts.busiest else None)}"
        for run in busy[-_MOST_RUNS:]
    ]
    if facts.forward and facts.share is not None:
        alone = f"Dashed: {of_rate(facts.forward)}, the network alone in the trial before the run. "
        drawn.append(
            f"<p class='quiet'>{escape(alone)}The longest run kept {100 * facts.share:.1f} % of it.</p>"
        )
    else:
        drawn.append("<p class='quiet'>No trial was timed, so there is no rate of the network alone.</p>")
    return "".join(drawn)


def stages(facts: Facts) -> str:
    """Worker seconds by stage."""
    known = {name: facts.stages[name] for name in (*_STAGES, *facts.stages) if name in facts.stages}
    total = sum(known.values())
    if not total:
        return "<p class='quiet'>Nothing was recorded yet.</p>"
    rows = "".join(
        f"<tr><td class='named'><i class='part{number}'></i>{escape(_STAGES.get(name, name))}</td>"
        f"<td class='n' data-stage='{escape(name)}' data-value='{seconds}'>{duration(seconds)}</td>"
        f"<td class='n'>{share(seconds, total)}</td></tr>"
        for number, (name, seconds) in enumerate(known.items())
    )
    head = "<tr><th>stage</th><th class='n'>time of workers</th><th class='n'>share</th></tr>"
    bar = stacked_bar([(_STAGES.get(name, name), seconds) for name, seconds in known.items()])
    return (
        f"{bar}<div class='scroll'><table>{head}{rows}</table></div>"
        f"<p class='quiet'>Stages of different blocks run side by side.{_amplification(facts.runs)}</p>"
    )


def blocks(facts: Facts) -> str:
    """What became of each block, and how long it took."""
    counts = facts.totals.blocks
    entries = [(f"{counts[status]:,} {name}", STATUS_COLOURS[status]) for status, name in _STATUS.items()]
    shape, size = (" x ".join(map(str, of)) for of in (facts.statuses.shape, facts.masks.layout.block))
    done = facts.seconds[facts.statuses == Status.DONE]
    times = (
        f"0 s <span class='ramp' style='background:{pictures.ramp()}'></span> {duration(float(done.max()))}"
        if done.size
        else "none was computed"
    )
    # A map of few blocks need not fill the page.
    width = f"style='max-width:{3 * facts.statuses.shape[-1]}rem'"
    return (
        f"<p>{shape} blocks of {size} pixels.</p>{legend(entries)}<div class='maps'>"
        f"<figure><img {width} src='{pictures.status_map(facts.statuses)}' alt='what became of each block'>"
        f"<figcaption>What became of each block</figcaption></figure>"
        f"<figure><img {width} src='{pictures.seconds_map(facts.seconds, facts.statuses)}' alt='their times'>"
        f"<figcaption>Time of each block: {times}</figcaption></figure></div>"
    )


def _told(run: RunRecord) -> str:
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(run.started))
    workers = f", {len(run.workers)} worker{'s' if len(run.workers) != 1 else ''}" if run.workers else ""
    remarks = "".join(f"; {remark}" for remark in run.remarks)
    rate = of_rate(run.pixels_per_second)
    return f"{began} on {run.host}: {rate} over {duration(run.seconds)}{workers}{remarks}"


def _amplification(runs: list[RunRecord]) -> str:
    decoded, needed = sum(run.decoded_bytes for run in runs), sum(run.needed_bytes for run in runs)
    return f" {decoded / needed:.2f} bytes were decoded for each byte covered." if needed else ""
