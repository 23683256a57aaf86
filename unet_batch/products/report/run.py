"""A mask store -> one HTML page about it."""

from dataclasses import dataclass
from pathlib import Path

from unet_batch.atomic import atomic_write
from unet_batch.products.outputs import check_output
from unet_batch.products.report import pictures
from unet_batch.products.report.config import ReportConfig
from unet_batch.products.report.facts import Facts
from unet_batch.products.report.page import page
from unet_batch.store.lock import OutputLock


@dataclass(frozen=True, slots=True)
class Report:
    """A page that was written."""

    path: str
    state: str
    bytes: int


def report(masks: str | Path, out: str | Path, config: ReportConfig | None = None) -> Report:
    """Write one self-contained HTML page about a mask store, also while a run writes it.

    Pictures with scale bar and legend, areas by class, rate over time, where the time went, the map of
    blocks, failures, provenance and the command that repeats it. A page that is there is replaced.

    Args:
        masks: mask store of a prediction.
        out: the page, ``.html``.
        config: what it shows.

    Raises:
        UnetBatchError: a store that cannot be told of, or a place that cannot be written.
    """
    settings, path = config or ReportConfig(), Path(out)
    check_output(path, (".html", ".htm"), replace=True)
    facts = Facts.gather(masks)
    title = settings.title or Path(facts.masks.path).absolute().name
    text = page(facts, title, list(pictures.shown(facts, settings)), pictures.legend(facts))
    with OutputLock.beside(path):
        atomic_write(path, text)
    return Report(str(path), facts.state, len(text.encode()))
