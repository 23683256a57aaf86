"""A shard that the ledger calls done and that is gone is damage to whoever reads it; one of fill is not."""

import numpy as np
import pytest

from tests.products.worlds import blobs, write_masks
from unet_batch.errors import DamageError
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.run import export
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.products.objects.run import objects
from unet_batch.products.stats.config import StatsConfig
from unet_batch.products.stats.run import stats
from unet_batch.store.image import Image
from unet_batch.store.journal import Entry, Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

SHAPE = (64, 96)


@pytest.fixture
def masks(tmp_path):
    """Six blocks with a ledger; the last holds nothing but fill, and so has no file."""
    labels = blobs(SHAPE, 1)
    labels[32:, 64:] = 255
    path = write_masks(tmp_path / "masks", labels, levels=1)
    store = Masks.open(path)
    with Ledger.create(path, (2, 3), 3) as ledger:
        for index in np.ndindex(2, 3):
            box = store.layout.blocks.box(index)
            ledger.record(Entry(index, Status.DONE, checksum=store.block_checksum(box), counts=(1, 1, 1)))
    return path


def gone(masks):
    (masks / "0/c/0/1").unlink()
    return masks


def test_a_block_of_fill_needs_no_file(masks):
    assert not (masks / "0/c/1/2").exists()
    whole = Box.of_shape(SHAPE)
    assert (Masks.open(masks).read(whole) == Image.open(masks).read(whole)).all()
    assert Masks.open(masks).lost_blocks(Ledger.open(masks)) == []


READERS = {
    "masks": lambda path, _: Masks.open(path).read(Box.of_shape(SHAPE)),
    "image": lambda path, _: Image.open(path).read(Box.of_shape(SHAPE)),
    "coarse levels": lambda path, _: Masks.open(path).read(Box((0, 32), (1, 33))),
    "export": lambda path, out: export(path, out / "a.tif", ExportConfig(workers=0)),
    "polygons": lambda path, out: export(path, out / "a.geojson", ExportConfig(workers=0)),
    "objects": lambda path, out: objects(path, out / "a.parquet", ObjectsConfig(workers=0)),
    "stats": lambda path, out: stats(path, out / "a.csv", StatsConfig(workers=0, level=0), reference=path),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_lost_shard_is_damage(masks, tmp_path, reader):
    READERS[reader](masks, tmp_path)
    for made in tmp_path.glob("a.*"):
        made.unlink()
    with pytest.raises(DamageError, match=r"block 0,1 is done by the ledger, but a file of it is gone; run"):
        READERS[reader](gone(masks), tmp_path)


def test_blocks_that_are_not_done_need_no_file(masks):
    with Ledger.open(masks, writable=True) as ledger:
        ledger.record(Entry((0, 1), Status.SKIPPED))
    assert (Masks.open(gone(masks)).read(Box((0, 32), (32, 64))) == 255).all()


def test_lost_blocks_are_listed(masks):
    assert Masks.open(gone(masks)).lost_blocks(Ledger.open(masks)) == [(0, 1)]
