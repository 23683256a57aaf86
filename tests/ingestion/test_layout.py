import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_batch.errors import InputError
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.layout import Blocking


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=3), st.integers(3, 20))
def test_blocks_cover_every_pixel_once(shape, block):
    axes = "zyx"[-len(shape) :]
    blocking = Blocking.of("here", axes, tuple(shape), IngestConfig(block=block))
    hits = np.zeros(shape, int)
    for box in blocking.boxes():
        hits[box.slices] += 1
        assert all(a % block == 0 for a in box.start)
    assert (hits == 1).all()
    assert len(blocking) == len(list(blocking.boxes()))


@pytest.mark.parametrize(
    ("axes", "settings", "block", "chunk"),
    [
        ("cyx", {}, (4096, 4096), (512, 512)),
        ("czyx", {}, (256, 256, 256), (128, 128, 128)),
        ("tczyx", {"block": (64, 64)}, (1, 1, 64, 64), (1, 1, 64, 64)),
        ("tyx", {"block": 96, "chunk": 32}, (1, 96, 96), (1, 32, 32)),
        ("zyx", {"block": 700}, (700,) * 3, (100,) * 3),
        ("zyx", {"chunk": (64, 64)}, (1, 4096, 4096), (1, 64, 64)),
    ],
)
def test_defaults(axes, settings, block, chunk):
    blocking = Blocking.of("here", axes, (9,) * len(axes.replace("c", "")), IngestConfig(**settings))
    assert (blocking.block, blocking.chunk) == (block, chunk)


@pytest.mark.parametrize(
    ("axes", "settings"),
    [
        ("yx", {"block": (8, 8, 8)}),
        ("zyx", {"block": (8, 8, 8), "chunk": (4, 4)}),
        ("yx", {"block": 10, "chunk": 4}),
    ],
)
def test_what_does_not_fit_is_refused(axes, settings):
    with pytest.raises(InputError, match="`block`"):
        Blocking.of("here", axes, (50,) * len(axes), IngestConfig(**settings))
