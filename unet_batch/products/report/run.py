"""A mask store -> one HTML page about it.

>>> report("masks.zarr", "masks.html", image="image.zarr").state
'done'
"""

from dataclasses import dataclass
from pathlib import Path

from unet_batch.atomic import atomic_write
from unet_batch.calls import checked
from unet_batch.products.outputs import check_output
from unet_batch.products.report import pictures
from unet_batch.products.report.config import ReportConfig
from unet_batch.products.report.facts import Facts
from unet_batch.products.report.page import page
from unet_batch.products.sources import image_beside, image_unknown
from unet_batch.store.lock import OutputLock


@dataclass(frozen=True, slots=True)
class Report:
    """A page that was written; ``remark`` says where the image is that is not shown."""

    path: str
    state: str
    bytes: int
    remark: str = ""


@checked
def report(
    masks: str | Path,
    out: str | Path,
    config: ReportConfig | None = None,
    *,
    image: str | Path | None = None,
) -> Report:
    """Write one self-contained HTML page about a mask store, also while a run writes it.

    Pictures with scale bar and legend, areas by class, rate over time, where the time went, the map of
    blocks, failures, provenance and the command that repeats it. A page that is there is replaced.

    Args:
        masks: mask store of a prediction.
        out: the page, ``.html``.
        config: what it shows.
        image: shown below the masks; None takes the one around a store at IMAGE/labels/NAME.

    Raises:
        UnetBatchError: a store that cannot be told of, or a place that cannot be written.
    """
    settings, path = config or ReportConfig(), Path(out)
    check_output(path, (".html", ".htm"), replace=True)
    facts = Facts.gather(masks)
    title = settings.title or Path(facts.masks.path).absolute().name
    text = page(facts, title, list(pictures.shown(facts, settings, image)), pictures.legend(facts))
    with OutputLock.beside(path):
        atomic_write(path, text)
    unknown = image_beside(facts.masks, image) is None
    return Report(str(path), facts.state, len(text.encode()), image_unknown(facts.masks) if unknown else "")
