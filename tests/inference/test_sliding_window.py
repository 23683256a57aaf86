# A region by tiles is the region in one pass; batches of any length reach networks that take one length only.

import numpy as np
import pytest
import torch

from unet_batch.inference.canvas import decide
from unet_batch.inference.sliding_window import SlidingWindow
from unet_batch.models.spec import ModelSpec
from unet_batch.tiling import Box, TileGrid, border

SPEC = ModelSpec(in_channels=1, classes=("a", "b"), width=2, depth=1)
SHAPE = (3, 20, 26)
GRID = TileGrid(SHAPE, (1, 8, 8), (1, 8, 8), (0, 2, 2), (0, 2, 2), (1, 1, 1))
REGION = Box((1, 0, 8), (2, 16, 26))


class Source:
    """Pixels of a stack of planes."""

    shape = SHAPE
    pixels = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)

    def read(self, box):
        return self.pixels[(slice(None), *box.slices)]


def blurred(x, *, padded=True):
    """Logits (N, 2, S) of a 5 x 5 mean, as large as the input, or smaller by its margin of 2."""
    mean = torch.nn.functional.avg_pool2d(x, 5, stride=1, padding=2 if padded else 0)
    return torch.cat([mean, -mean], dim=1)


def window(network, **settings):
    settings = {"batch": 4, "tta": False, "device": "cpu"} | settings
    return SlidingWindow([network], SPEC, GRID, **settings)


def probabilities(chosen):
    hull = border.read(Source(), GRID.read_box(REGION))
    return chosen.probabilities(chosen.to_device(hull), REGION)


def one_pass():
    pixels = border.read(Source(), REGION.grow((0, 2, 2), (0, 2, 2)))[:, 0]
    return blurred(torch.from_numpy(pixels)[None], padded=False)[0].softmax(dim=0)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("tta", [False, True, "turns"])
def test_tiles_give_what_one_pass_gives(padded, tta):
    found = probabilities(window(lambda x: blurred(x, padded=padded), tta=tta))
    torch.testing.assert_close(found, one_pass())


def test_labels_are_those_of_the_probabilities():
    chosen = window(blurred)
    hull = border.read(Source(), GRID.read_box(REGION))
    found = chosen.labels(chosen.to_device(hull), REGION)
    assert torch.equal(found, decide(one_pass(), "multiclass", averaged=True))


def test_a_batch_that_memory_does_not_suffice_for_is_halved():
    sizes = []

    def network(x):
        sizes.append(len(x))
        if len(x) > 1:
            raise torch.OutOfMemoryError
        return blurred(x)

    torch.testing.assert_close(probabilities(window(network)), one_pass())
    assert sizes[:3] == [4, 2, 1]


def test_a_single_tile_that_memory_does_not_suffice_for_is_an_error():
    def network(x):
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        probabilities(window(network))


def test_a_network_of_one_batch_size_gets_no_other():
    sizes = []

    def network(x):
        sizes.append(len(x))
        return blurred(x)

    torch.testing.assert_close(probabilities(window(network, batch=4, batches="full")), one_pass())
    assert sizes == [4, 4]
