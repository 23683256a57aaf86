"""The frame of a picture: a scale bar on it and a legend below. Knows no masks."""

from collections.abc import Sequence

from PIL import Image as Pillow
from PIL import ImageDraw

from unet_batch.products.preview.font import Font, drawable, font_of
from unet_batch.products.scale import scale_bar

Entry = tuple[str, tuple[int, int, int]]


def framed(picture: Pillow.Image, width: float, unit: str | None, entries: Sequence[Entry]) -> Pillow.Image:
    """``picture``, which is ``width`` units wide, with a scale bar, above a legend."""
    size = max(12, min(32, picture.width // 45))
    font = font_of(size)
    entries = [(drawable(name, font), colour) for name, colour in entries]
    picture = picture.copy()
    _draw_bar(ImageDraw.Draw(picture), picture.size, scale_bar(width, unit), font)
    if not entries:
        return picture
    rows = _rows(entries, picture.width, size, font)
    result = Pillow.new(
        "RGB", (picture.width, picture.height + round(size * (1.7 * len(rows) + 0.7))), "white"
    )
    result.paste(picture)
    draw = ImageDraw.Draw(result)
    y = picture.height + size * 0.6
    for row in rows:
        x = size * 0.6
        for name, colour in row:
            draw.rectangle((x, y + size * 0.1, x + size, y + size * 1.1), fill=colour, outline="#444")
            draw.text((x + size * 1.4, y), name, font=font, fill="#222")
            x += _width(name, size, font)
        y += size * 1.7
    return result


def _draw_bar(draw: ImageDraw.ImageDraw, size: tuple[int, int], bar: tuple[float, str], font: Font) -> None:
    share, label = bar[0], drawable(bar[1], font)
    unit = font.size
    left, bottom = unit, size[1] - unit
    right = left + share * size[0]
    draw.rectangle((left - 2, bottom - unit * 0.3 - 2, right + 2, bottom + 2), fill="black")
    draw.rectangle((left, bottom - unit * 0.3, right, bottom), fill="white")
    where = (left, bottom - unit * 1.8)
    draw.text(where, label, font=font, fill="white", stroke_width=max(1, int(unit // 8)), stroke_fill="black")


def _rows(entries: Sequence[Entry], width: int, size: int, font: Font) -> list[list[Entry]]:
    rows: list[list[Entry]] = [[]]
    used = 0.0
    for entry in entries:
        wide = _width(entry[0], size, font)
        if rows[-1] and used + wide > width - size:
            rows.append([])
            used = 0.0
        rows[-1].append(entry)
        used += wide
    return rows


def _width(name: str, size: int, font: Font) -> float:
    return font.getlength(name) + size * 2.6
