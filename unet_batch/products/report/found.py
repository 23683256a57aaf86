"""What was found: pictures and areas, as HTML."""

from collections.abc import Sequence
from html import escape

from unet_batch.products.report.facts import Facts
from unet_batch.products.report.parts import Colour, legend, swatch
from unet_batch.products.report.pictures import Shown
from unet_batch.products.report.words import share
from unet_batch.products.scale import quantity


def pictures(shown: Sequence[Shown], entries: Sequence[tuple[str, Colour]]) -> str:
    """The parts shown, with a box that hides the masks."""
    figures = "".join(_figure(one, whole=number == 0) for number, one in enumerate(shown))
    toggle = (
        "<input type='checkbox' class='toggle' id='hide'><label for='hide'>hide the classes</label>"
        if any(one.sheet for one in shown)
        else ""
    )
    return f"{legend(entries)}{toggle}<div class='pictures'>{figures}</div>"


def _figure(one: Shown, *, whole: bool) -> str:
    width, label = one.bar
    above = f"<img class='sheet' src='{one.sheet}' alt='classes'>" if one.sheet else ""
    return (
        f"<figure class='{'whole' if whole else 'part'}'><div class='stack'>"
        f"<img src='{one.base}' width='{one.width}' height='{one.height}' alt='{escape(one.caption)}'>{above}"
        f"<span class='scale' style='width:{100 * width:.2f}%'>{escape(label)}</span></div>"
        f"<figcaption>{escape(one.caption)}</figcaption></figure>"
    )


def areas(facts: Facts, colours: dict[str, Colour]) -> str:
    """A row per class, as the ledger counted it."""
    layout, counts = facts.masks.layout, facts.totals.class_counts
    names = ("values",) if layout.kind == "regression" else layout.names
    # Channels of multilabel masks overlap: their shares are of the pixels computed.
    whole = facts.pixels if layout.kind == "multilabel" else sum(counts)
    sizes, note = _sizes(facts)
    size = f"<th class='n'>{'area' if layout.dims == 2 else 'volume'}</th>" if sizes else ""
    head = f"<th>class</th><th class='n'>pixels</th><th class='n'>share</th>{size}<th class='fill'></th>"
    rows = [
        _class(name, pixels, whole, sizes[at] if sizes else "", colours.get(name))
        for at, (name, pixels) in enumerate(zip(names, counts, strict=True))
    ]
    return f"<div class='scroll'><table><tr>{head}</tr>{''.join(rows)}</table></div>{note}"


def _class(name: str, pixels: int, whole: int, size: str, colour: Colour | None) -> str:
    width = 100 * pixels / whole if whole else 0
    fill = f"background:rgb{colour}" if colour else "background:transparent"
    return (
        f"<tr><td class='named'>{swatch(colour)}{escape(name)}</td>"
        f"<td class='n' data-value='{pixels}'>{pixels:,}</td><td class='n'>{share(pixels, whole)}</td>{size}"
        f"<td class='fill'><span style='width:{width:.2f}%;{fill}'></span></td></tr>"
    )


def _sizes(facts: Facts) -> tuple[list[str], str]:
    """A cell per class with its size in true units, where there are such, and else why not."""
    if facts.masks.layout.unit is None and facts.masks.georef is None:
        return [], "<p class='quiet'>Nothing says how large a pixel is.</p>"
    sizes, unit, dims = *facts.sizes(), facts.masks.layout.dims
    if sizes is None:
        return (
            [],
            "<p class='quiet'>Pixels are not all of one size: <code>unet-batch stats</code> gives areas.</p>",
        )
    return [f"<td class='n'>{escape(quantity(size, unit, dims))}</td>" for size in sizes], ""
