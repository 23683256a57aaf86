"""Views of tiles: each shows something else, and all lead back."""

import pytest
import torch

from unet_batch.inference.views import View, views


@pytest.mark.parametrize(
    ("dims", "averaging", "count"),
    [(2, False, 1), (2, True, 4), (2, "turns", 8), (3, True, 8), (3, "turns", 16)],
)
def test_views_are_unlike_and_lead_back(dims, averaging, count):
    x = torch.rand(2, 1, *(5,) * dims)
    found = views(dims, averaging)
    assert found[0] == View()
    assert len({view.of(x).numpy().tobytes() for view in found}) == len(found) == count
    assert all(torch.equal(view.back(view.of(x)), x) for view in found)


def test_a_turned_view_has_the_other_shape():
    x = torch.rand(1, 1, 4, 6)
    view = View((-1,), turned=True)
    assert view.of(x).shape == (1, 1, 6, 4)
    assert torch.equal(view.back(view.of(x)), x)
