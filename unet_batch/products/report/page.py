"""The page: facts and pictures as one HTML file that needs nothing else. Gathers nothing itself."""

import time
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from unet_batch.products.report import found, origin, speed
from unet_batch.products.report.facts import Facts
from unet_batch.products.report.parts import Colour, section
from unet_batch.products.report.pictures import Shown
from unet_batch.products.report.words import duration, of_rate, short
from unet_batch.store.journal import Status

# The page needs nothing else, so nothing else may be loaded, whatever a name in it says.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(facts: Facts, title: str, shown: Sequence[Shown], classes: Sequence[tuple[str, Colour]]) -> str:
    """The whole HTML document."""
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    sections = [
        section("pictures", "What was found", found.pictures(shown, classes)),
        section("areas", "Areas by class", found.areas(facts, dict(classes))),
        section("rate", "Throughput over time", speed.rate(facts)),
        section("time", "Where the time went", speed.stages(facts)),
        section("blocks", "Blocks", speed.blocks(facts)),
        section("failures", "Failures", origin.failures(facts)),
        section("provenance", "How to do it again", origin.provenance(facts)),
    ]
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        f"<meta http-equiv='Content-Security-Policy' content=\"{_POLICY}\">\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"{_head(facts, title)}\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _head(facts: Facts, title: str) -> str:
    run, blocks = facts.busiest, facts.totals.blocks
    wall = sum(one.seconds for one in facts.runs)
    kept = ("-", "no trial was timed")
    if facts.share is not None:
        kept = (f"{100 * facts.share:.0f} %", "the network alone, as the trial timed it")
    figures = [
        ("pixels", f"{short(facts.pixels)}px", f"{facts.pixels:,}"),
        ("rate", of_rate(run.pixels_per_second) if run else "-", "of the longest run"),
        ("share of pure forward", *kept),
        ("wall time", duration(wall), f"{len(facts.runs)} run{'s' if len(facts.runs) != 1 else ''}"),
        (
            "blocks",
            f"{blocks[Status.DONE]:,}",
            f"of {sum(blocks.values()):,}, {blocks[Status.FAILED]:,} failed",
        ),
    ]
    cards = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in figures
    )
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return (
        f"<header id='summary'><span class='state {facts.state}'>{facts.state}</span><h1>{escape(title)}</h1>"
        f"<p class='quiet'>{escape(str(Path(facts.masks.path).absolute()))}, as of {when}</p>"
        f"<dl class='figures'>{cards}</dl></header>"
    )
