"""What a YAML file or ``--set key=value`` may say about a report."""

from pydantic import Field

from unet_batch.config import Config
from unet_batch.products.preview.config import PreviewConfig


class ReportConfig(Config):
    """What the page shows.

    Attributes:
        title: heading of the page; None takes the name of the store.
        details: how many parts are shown close up, where classes mix most.
        window: their longest side in pixels of the masks.
        picture: how pictures look; their frame is the page's own.
    """

    title: str | None = None
    details: int = Field(default=3, ge=0, le=24)
    window: int = Field(default=512, ge=16, le=4096)
    picture: PreviewConfig = PreviewConfig(size=1200)
