"""What a YAML file or ``--set key=value`` may say about statistics."""

from pydantic import Field

from unet_batch.engine.config import ExecutionConfig


class StatsConfig(ExecutionConfig):
    """What is counted, beside who does the blocks.

    Attributes:
        level: level of the masks' pyramid; coarser ones are quicker and, by their mode, less exact.
        layer: layer of a file of zones that has several.
        zone: attribute that names a zone; None takes ``name``, ``zone`` or ``id``, else the first
            text that differs for each zone, else their numbers.
        ignore: value of the reference that leaves a pixel open; None is the masks' own value for no data.
    """

    level: int = Field(default=0, ge=0)
    layer: str | None = None
    zone: str | None = None
    ignore: int | None = None
