"""Band: what the numbers of one channel mean, as remote sensing has it. Plain values; reads no pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from unet_batch.errors import FormatError


@dataclass(frozen=True, slots=True)
class Band:
    """One channel: a pixel stands for ``scale * pixel + offset`` in ``unit``; ``colour`` as GDAL names it.

    ``table`` has red, green, blue and alpha (0 to 255) of each value, where pixels are numbers of colours.
    """

    name: str = ""
    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None
    colour: str | None = None
    table: tuple[tuple[int, int, int, int], ...] = ()

    @property
    def meaning(self) -> tuple[float, float, str | None]:
        """What two bands must share for their pixels to be comparable."""
        return self.scale, self.offset, self.unit


def to_json(bands: Sequence[Band]) -> list[dict[str, Any]]:
    """Bands as plain values."""
    return [asdict(band) for band in bands]


def parse(attributes: Mapping[str, Any], where: str) -> tuple[Band, ...]:
    """The ``bands`` among a store's own attributes; none where there are none."""
    try:
        return TypeAdapter(tuple[Band, ...]).validate_python(attributes.get("bands", ()))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]["msg"]
        raise FormatError(f"{where}: broken description of its bands ({fault}); ingest it anew") from None
