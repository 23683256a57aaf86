"""Margins by impulse response of real networks; tiles against the untiled pass."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_batch.errors import SpecError
from unet_batch.models import ternausnet
from unet_batch.models.build import build
from unet_batch.models.layers import centre_crop
from unet_batch.models.receptive_field import ReceptiveField
from unet_batch.models.spec import ModelSpec

NETWORKS = [
    {"dims": dims, "depth": depth, "padding": padding, "up": up}
    for (dims, depth), padding, up in product(
        [(2, 1), (2, 3), (3, 2)], ["valid", "same"], ["transposed", "interpolated"]
    )
]
NETWORKS += [
    {"dims": dims, "depth": 2, "padding": padding, "blocks": "residual"}
    for dims, padding in product([2, 3], ["valid", "same"])
]


def make_spec(**values):
    return ModelSpec(**{"in_channels": 1, "classes": ["out"], "head": "regression", **values})


def positive(model):
    """Weights of one and biases of zero: nothing that depends on an impulse can cancel."""
    for name, parameter in model.named_parameters():
        torch.nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
    return model.double().eval()


def farthest(spec, model):
    """Distances at which an impulse shows past the low and the high end of a tile's output, over all phases.

    Unpadded networks are aligned to their first pixel, so their smallest legal output around the response
    counts; padded ones are held to the stricter law that each pixel alone obeys the margin.
    """
    reach = spec.receptive_field()
    valid = spec.padding == "valid"
    size = reach.input_size(2 * reach.multiple + (2 * reach.margin if valid else 0))
    phases = [size // 2 + phase for phase in range(reach.multiple)]
    x = torch.zeros(len(phases), 1, *[size] * spec.dims, dtype=torch.float64)
    for index, position in enumerate(phases):
        x[(index, 0, *[position] * spec.dims)] = 1
    with torch.inference_mode():
        y = model(x)[:, 0] != 0
    lost, step = (size - y.shape[-1]) // 2, reach.multiple if valid else 1
    last = (reach.output_size(reach.minimum) - 1) % step  # a legal output ends at such a pixel
    low, high = [], []
    for axis, (index, position) in product(range(spec.dims), enumerate(phases)):
        where = y[index].movedim(axis, 0).flatten(1).any(dim=1).nonzero().flatten()
        start = int(where.max()) // step * step + lost
        end = int(where.min()) + (last - int(where.min())) % step + lost
        low.append(start - position)
        high.append(position - end)
    return max(low), max(high)


@pytest.mark.parametrize("values", NETWORKS, ids=lambda v: "-".join(map(str, v.values())))
def test_the_margin_is_the_farthest_response(values):
    spec = make_spec(width=1, **values)
    reach = spec.receptive_field()
    low, high = farthest(spec, positive(build(spec)))
    if spec.padding == "valid":
        assert (low, high) == (reach.margin, reach.margin)
    else:
        assert reach.margin - reach.multiple < max(low, high) <= reach.margin


def test_the_margin_of_a_ternausnet(monkeypatch):
    monkeypatch.setattr(ternausnet, "_LEVELS", ((1,), (1,), (1, 1), (1, 1), (1, 1)))
    spec = make_spec(architecture="ternausnet", width=1)
    reach = spec.receptive_field()
    found = max(farthest(spec, positive(build(spec))))
    assert reach.margin - reach.multiple < found <= reach.margin
    assert (reach.multiple, reach.remainder, reach.exact) == (32, 0, True)


@pytest.mark.parametrize("values", NETWORKS, ids=lambda v: "-".join(map(str, v.values())))
def test_a_tile_equals_the_untiled_pass_at_aligned_shifts_only(values):
    torch.manual_seed(1)
    spec = make_spec(width=2, **values)
    reach, model = spec.receptive_field(), build(spec).double().eval()
    tile = reach.input_size(reach.multiple + 1)
    image = torch.randn(1, 1, *[tile + 2 * reach.multiple] * spec.dims, dtype=torch.float64)
    with torch.inference_mode():
        whole = model(image)
        whole = centre_crop(whole, [reach.output_size(image.shape[-1])] * spec.dims)

        def difference(shift):
            part = image
            wanted = whole
            for axis in range(2, 2 + spec.dims):
                part = part.narrow(axis, shift, tile)
                wanted = wanted.narrow(axis, shift, reach.output_size(tile))
            found = centre_crop(model(part), wanted.shape[2:])
            return float((found - wanted).abs().max())

        assert difference(reach.multiple) < 1e-12
        assert difference(1) > 1e-6


@settings(max_examples=50)
@given(
    depth=st.integers(1, 5),
    up=st.sampled_from(["transposed", "interpolated"]),
    padding=st.sampled_from(["valid", "same"]),
    output=st.integers(1, 700),
)
def test_legal_sizes_pass_through_the_network(depth, up, padding, output):
    spec = make_spec(width=1, depth=depth, up=up, padding=padding)
    reach = spec.receptive_field()
    size = spec.input_size(output)
    assert reach.legal(size)
    assert output <= reach.output_size(size) < output + reach.multiple
    with torch.device("meta"):
        given_back = build(spec)(torch.zeros(1, 1, size, size)).shape[-1]
    assert given_back == (reach.output_size(size) if padding == "valid" else size)
    assert not reach.legal(size + 1)
    assert not reach.legal(reach.minimum - reach.multiple)


def test_published_sizes():
    flat, deep = (
        ModelSpec(preset="unet-2015").receptive_field(),
        ModelSpec(preset="unet3d-2016").receptive_field(),
    )
    assert flat == ReceptiveField(margin=92, multiple=16, remainder=12)
    assert flat.output_size(572) == 388
    assert deep == ReceptiveField(margin=44, multiple=8, remainder=4)
    assert [deep.output_size(n) for n in (132, 132, 116)] == [44, 44, 28]


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_statistics_over_the_tile_are_not_exact(norm):
    assert not make_spec(width=4, norm=norm).receptive_field().exact
    assert make_spec(width=4, norm="batch").receptive_field().exact


def test_a_fixed_size_is_the_only_legal_one():
    reach = make_spec(architecture="exported", margin=10, exact=True, fixed_size=64).receptive_field()
    assert reach.input_size(44) == 64
    assert [reach.legal(n) for n in (63, 64, 65)] == [False, True, False]
    with pytest.raises(SpecError, match="64 px and gives 44 px, not 45"):
        reach.input_size(45)
