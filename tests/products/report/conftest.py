"""A store that a report has everything to tell of, and its page."""

import numpy as np
import pytest

from tests.products.worlds import blobs, write_image, write_masks
from tests.worlds import noise
from unet_batch.engine import history
from unet_batch.engine.history import RunRecord
from unet_batch.products.preview.config import PreviewConfig
from unet_batch.products.report.config import ReportConfig
from unet_batch.products.report.run import report
from unet_batch.store.journal import Entry, Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks import Masks

SHAPE, BLOCK = (300, 500), 64


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    """A store with a picture, a ledger with failures, and the history of two runs; never changed."""
    tmp_path = tmp_path_factory.mktemp("report")
    labels = blobs(SHAPE, 3, size=8)
    write_image(tmp_path / "image", noise((3, *SHAPE)), "cyx")
    path = write_masks(
        tmp_path / "masks", labels, block=BLOCK, pixel_size={"y": 0.5, "x": 0.5}, unit="micrometer"
    )
    Masks.open(path, writable=True).stamp(
        {
            "finished": True,
            "plan": {
                "grid": {"tile": [64, 64]},
                "compute": {"backend": "eager", "precision": "fp32", "batch": 2},
            },
            "plan_hash": "abc123",
            "provenance": {
                "image": str(tmp_path / "image"),
                "models": ["net <1>.safetensors"],
                "given": {"channels": [0, 1, 2], "merge": "crop"},
                "settings": {},
                "axes": "cyx",
                "trial_pixels_per_second": 1000.0,
                "host": "login & co",
                "versions": {"torch": "2"},
            },
        }
    )
    with Ledger.create(path, (5, 8), 3) as ledger:
        for index in np.ndindex(5, 8):
            part = labels[tuple(slice(i * BLOCK, (i + 1) * BLOCK) for i in index)]
            counts = tuple(int(n) for n in np.bincount(part.ravel(), minlength=3))
            ledger.record(Entry(index, Status.DONE, seconds=sum(index) + 1.0, counts=counts))
        ledger.record(Entry((1, 1), Status.FAILED, error="ValueError: <script>alert(1)</script>"))
        ledger.record(Entry((2, 2), Status.SKIPPED))
    first = RunRecord("old", 1.7e9, 100.0, 4000, {"done": 1}, {"read": 5.0, "network": 20.0}, 300, 100)
    stages, pace = {"read": 15.0, "network": 60.0, "write": 4.0}, [(50.0, 50000), (100.0, 60000)]
    second = RunRecord(
        "new", 1.7e9 + 500, 200.0, 150000, {"done": 37}, stages, 100, 100, workers=["a"], pace=pace
    )
    for record in (first, second):
        history.append(str(path), record)
    return path


@pytest.fixture(scope="module")
def page(masks):
    out = masks.parent / "report.html"
    config = ReportConfig(details=2, window=128, picture=PreviewConfig(size=500))
    report(masks, out, config, image=masks.parent / "image")
    return out.read_text(encoding="utf-8")
