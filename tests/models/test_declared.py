"""A foreign network is held to what the YAML beside it says, before any block."""

import pytest
from torch import nn

from unet_batch.errors import InputError
from unet_batch.models.answers import AsLogits
from unet_batch.models.declared import check_declared
from unet_batch.models.spec import ModelSpec


def spec_of(**keys):
    return ModelSpec(**{"architecture": "exported", "in_channels": 1, "classes": ["a", "b"], **keys})


def check(network, **keys):
    spec = spec_of(**keys)
    return check_declared("net.pt", AsLogits(network.eval(), spec), spec)


WIDE = nn.Conv2d(1, 2, 9, padding=4)
POOLED = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(4), nn.Upsample(scale_factor=4))
QUARTER = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AvgPool2d(4))


@pytest.mark.parametrize(
    ("network", "keys"),
    [
        (WIDE, {"margin": 4, "exact": True}),
        (WIDE, {"margin": 0, "exact": False}),  # a person's own choice
        (POOLED, {"margin": 4, "multiple": 4, "exact": True}),
        (QUARTER, {"margin": 8, "multiple": 8, "output_scale": 4, "exact": True}),
        (nn.Conv2d(1, 2, 9), {"margin": 4, "exact": True}),
        (nn.Conv2d(1, 2, 9, padding=2), {"margin": 4, "exact": True}),
    ],
)
def test_what_is_true_passes(network, keys):
    assert check(network, **keys) == []


@pytest.mark.parametrize(
    ("network", "keys", "said"),
    [
        (WIDE, {"margin": 0}, r"is not exact with margin 0 and multiple 1; measured: margin: 4, multiple: 1"),
        (POOLED, {"margin": 4, "multiple": 2}, "margin 4 and multiple 2; measured: margin: 4, multiple: 4"),
        (
            nn.Sequential(WIDE, nn.InstanceNorm2d(2)),
            {"margin": 4},
            "write `exact: false`, and tiles are blended",
        ),
        (
            QUARTER,
            {"margin": 0, "multiple": 8, "output_scale": 4},
            "margin 0 and multiple 8; measured: margin: 8, multiple: 4",
        ),
    ],
)
def test_a_wrong_margin_or_step_is_refused_with_what_was_measured(network, keys, said):
    with pytest.raises(InputError, match=said):
        check(network, exact=True, **keys)


@pytest.mark.parametrize("keys", [{"margin": 8, "multiple": 8}, {"margin": 8, "multiple": 8, "exact": True}])
def test_an_output_of_another_size_is_refused_with_both_sizes(keys):
    said = r"gives 8 px for an input of 32 px, but margin 8 needs 16 to 32 px; say `output_scale: 4`"
    with pytest.raises(InputError, match=said):
        check(QUARTER, **keys)


def test_other_channels_and_refused_inputs():
    with pytest.raises(InputError, match=r"gives \[1, 2, 10, 10\].*not 3 channels.*mend `classes`"):
        check(WIDE, classes=["a", "b", "c"], margin=4)
    with pytest.raises(InputError, match=r"does not take an input of 3 channels, 10 px.*mend in_channels"):
        check(WIDE, in_channels=3, margin=4)


@pytest.mark.parametrize(("head", "likely"), [("multilabel", "sigmoid"), ("multiclass", "softmax")])
def test_outputs_between_0_and_1_are_remarked_on(head, likely):
    network = nn.Sequential(WIDE, nn.Sigmoid())
    (line,) = check(network, margin=4, head=head, exact=True)
    assert f"if it ends in a {likely}, write `activation: {likely}`" in line
    assert check(network, margin=4, head="regression", exact=True) == []
    if head == "multilabel":
        assert check(network, margin=4, head=head, activation="sigmoid", exact=True) == []


def test_a_fixed_size_is_asked_from_its_middle():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = WIDE

        def forward(self, x):
            if x.shape[2] != 64:
                raise ValueError("64 only")
            return self.inner(x)

    assert check(Fixed(), margin=4, fixed_size=64, exact=True) == []
    with pytest.raises(InputError, match=r"margin 3 and multiple 1; measured: margin: 4.*fixed_size: 64"):
        check(Fixed(), margin=3, fixed_size=64, exact=True)
