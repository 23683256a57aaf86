"""The font of pictures: one that has µ and ², where there is such; else these are replaced."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont

_NAMES = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "Helvetica.ttc")
_PLAIN = {"µ": "u", "μ": "u", "²": "2", "³": "3", "Å": "A"}
_NO_CHARACTER = "\U0010fffe"


def font_of(size: int) -> Font:
    """The first font that has the letters of units, else Pillow's own."""
    for path in _candidates():
        try:
            found = ImageFont.truetype(path, size)
        except OSError:
            continue
        if not _lacking(found, "".join(_PLAIN)):
            return found
    own = ImageFont.load_default(size)
    assert isinstance(own, Font), "Pillow's wheels have FreeType"
    return own


def drawable(text: str, font: Font) -> str:
    """``text`` with letters that ``font`` lacks replaced by plain ones: no boxes."""
    lacking = _lacking(font, text)
    return "".join(_PLAIN.get(letter, "?") if letter in lacking else letter for letter in text)


def _candidates() -> Iterator[str]:
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        yield str(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")
    yield from _NAMES


def _lacking(font: Font, text: str) -> set[str]:
    """Letters that are drawn as the box of a missing character."""
    box = bytes(font.getmask(_NO_CHARACTER))
    return {letter for letter in set(text) if not letter.isspace() and bytes(font.getmask(letter)) == box}
