"""What a network is, measured without being told: margin, steps, sizes."""

import pytest
from torch import nn

from unet_batch.errors import InputError
from unet_batch.models.answers import AsLogits
from unet_batch.models.build import build
from unet_batch.models.measure import measured
from unet_batch.models.receptive_field import ReceptiveField
from unet_batch.models.spec import ModelSpec


def spec_of(**keys):
    return ModelSpec(**{"in_channels": 1, "classes": ["a", "b"], "width": 2, **keys})


@pytest.mark.parametrize(
    "keys",
    [
        {"depth": 2, "padding": "valid"},
        {"depth": 2, "padding": "valid", "up": "interpolated"},
        {"depth": 1, "padding": "same", "norm": "batch"},
        {"depth": 2, "padding": "same", "blocks": "residual"},
        {"dims": 3, "depth": 1, "padding": "same"},
    ],
)
def test_measuring_finds_what_arithmetic_says(keys):
    spec = spec_of(**keys)
    wanted = spec.receptive_field()
    found = measured(build(spec, 0).eval(), spec.dims, 1)
    assert (found.multiple, found.remainder, found.exact) == (wanted.multiple, wanted.remainder, True)
    if spec.padding == "valid":
        assert found.margin == wanted.margin
    else:  # arithmetic asks for each pixel alone, measuring for tiles as a whole
        assert wanted.margin - wanted.multiple <= found.margin <= wanted.margin


def test_weights_of_zero_do_not_hide_what_could_matter():
    network = nn.Conv2d(1, 2, 7, padding=3)
    nn.init.zeros_(network.weight)
    assert measured(network, 2, 1) == ReceptiveField(margin=3)


def test_dilated_convolutions_are_seen_past_their_holes():
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=12, dilation=12), nn.Conv2d(1, 1, 3, padding=1))
    assert measured(network, 2, 1).margin == 13


@pytest.mark.parametrize("layer", [nn.InstanceNorm2d(2), nn.AdaptiveAvgPool2d(1)])
def test_statistics_over_the_input_are_not_exact(layer):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.layer = nn.Conv2d(1, 2, 3, padding=1), layer

        def forward(self, x):
            x = self.first(x)
            return x + self.layer(x)

    assert not measured(Network(), 2, 1).exact


def test_the_stride_of_an_output_at_a_quarter_is_its_step():
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AvgPool2d(4))
    spec = ModelSpec(
        architecture="exported", in_channels=1, classes=["a", "b"], margin=0, multiple=4, output_scale=4
    )
    # 1 px of the convolution, and one coarse pixel that enlarging mixes in; whole steps of 4.
    assert measured(AsLogits(network, spec), 2, 1) == ReceptiveField(margin=8, multiple=4)


def test_sizes_that_are_rounded_up_inside_are_not_legal():
    """Half the size and back: 63 px give 64, which are not those of the 63."""
    down, up = nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.ConvTranspose2d(2, 2, 2, stride=2)
    assert measured(nn.Sequential(down, up), 2, 1) == ReceptiveField(margin=2, multiple=2)


class OnlyOneSize(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(1, 2, 5, padding=2)

    def forward(self, x):
        if x.shape[2:] != (96, 96):
            raise ValueError("96 px only")
        return self.inner(x)


def test_a_network_of_one_size():
    assert measured(OnlyOneSize(), 2, 1) == ReceptiveField(margin=2, fixed=96)


def test_a_network_that_takes_nothing_says_what_it_said():
    class Never(nn.Module):
        def forward(self, x):
            raise ValueError("not in the mood")

    with pytest.raises(InputError, match=r"takes none of the inputs.*not in the mood"):
        measured(Never(), 2, 1)
