"""Pieces of HTML that several sections use."""

from collections.abc import Iterable
from html import escape

Colour = tuple[int, int, int]


def section(name: str, title: str, body: str) -> str:
    """A part of the page with a heading."""
    return f"<section id='{name}'>\n<h2>{escape(title)}</h2>\n{body}\n</section>\n"


def legend(entries: Iterable[tuple[str, Colour]]) -> str:
    """Colours and what they stand for."""
    items = "".join(f"<li>{swatch(colour)}{escape(name)}</li>" for name, colour in entries)
    return f"<ul class='legend'>{items}</ul>"


def swatch(colour: Colour | None) -> str:
    """A small square of a colour."""
    style = "" if colour is None else f" style='background:rgb{colour}'"
    return f"<i{style}></i>"
