"""Charts of a report as SVG and HTML that scale with the page; their labels are text of the page."""

from collections.abc import Sequence
from html import escape

from unet_batch.engine.history import RunRecord
from unet_batch.products.report.words import duration, of_rate

_HEIGHT = 100.0  # of the drawing's own units; the page stretches it


def rate_chart(run: RunRecord, forward: float | None) -> str:
    """Pixels per second over the time of one run, with the network's own rate as a dashed line."""
    points = _rates(run)
    if not points:
        return "<p class='quiet'>Too short to draw.</p>"
    top = max([rate for _, _, rate in points] + ([forward] if forward else [])) * 1.08
    path = " ".join(
        f"{'M' if at == 0 else 'L'}{1000 * begin / run.seconds:.1f},{_y(rate, top)} "
        f"L{1000 * end / run.seconds:.1f},{_y(rate, top)}"
        for at, (begin, end, rate) in enumerate(points)
    )
    dashed = f"<path class='forward' d='M0,{_y(forward, top)} L1000,{_y(forward, top)}'/>" if forward else ""
    drawing = (
        f"<svg viewBox='0 0 1000 {_HEIGHT:g}' preserveAspectRatio='none' role='img' "
        f"aria-label='rate over time'><path class='rate' d='{path}'/>{dashed}</svg>"
    )
    return (
        f"<div class='chart'><span class='y'>{escape(of_rate(top / 1.08))}</span>{drawing}"
        f"<span class='x'>0 s</span><span class='x end'>{escape(duration(run.seconds))}</span></div>"
    )


def stacked_bar(parts: Sequence[tuple[str, float]]) -> str:
    """Parts of a whole as one bar; colours follow the order."""
    total = sum(value for _, value in parts)
    pieces = "".join(
        f"<span class='part{number}' style='width:{100 * value / total:.3f}%' "
        f"title='{escape(name)}: {100 * value / total:.1f} %'></span>"
        for number, (name, value) in enumerate(parts)
        if total and value > 0
    )
    return f"<div class='bar'>{pieces}</div>"


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


def _y(rate: float, top: float) -> str:
    return f"{_HEIGHT * (1 - rate / top):.2f}"
