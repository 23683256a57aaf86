"""What foreign networks return becomes logits of the input's size."""

import pytest
import torch
from torch import nn

from unet_batch.errors import InputError
from unet_batch.models import heads
from unet_batch.models.answers import AsLogits, as_logits, choose, enlarged
from unet_batch.models.spec import ModelSpec

A, B = torch.zeros(1, 2, 4, 4), torch.ones(1, 3, 4, 4)


@pytest.mark.parametrize(
    ("answer", "wanted", "found"),
    [
        (A, None, A),
        ({"out": A}, None, A),
        ({"out": A, "aux": B}, "aux", B),
        ((A, B), 1, B),
        ([A, {"deep": B}], "1.deep", B),
    ],
)
def test_the_output_that_counts(answer, wanted, found):
    assert choose(answer, wanted) is found


def test_several_outputs_are_listed_with_the_cure():
    with pytest.raises(
        InputError, match=r"several outputs \(out \[1, 2, 4, 4\], aux \[1, 3, 4, 4\]\).*`output: NAME`"
    ):
        choose({"out": A, "aux": B}, None)
    with pytest.raises(InputError, match=r"no output 'mask', but out .*mend `output`"):
        choose({"out": A, "aux": B}, "mask")
    with pytest.raises(InputError, match="gives a NoneType without tensors"):
        choose(None, None)


def test_probabilities_and_labels_survive_the_way_through_logits():
    logits = torch.randn(2, 3, 5, 6)
    for activation, head in (("sigmoid", "multilabel"), ("softmax", "multiclass")):
        wanted = heads.probabilities(logits, head)
        found = heads.probabilities(as_logits(wanted, activation, 3), head)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    labels = logits.argmax(dim=1, keepdim=True)
    for kind in (torch.int64, torch.float32):
        found = as_logits(labels.to(kind), "argmax", 3)
        assert torch.equal(heads.labels(found, "multiclass")[:, None], labels.to(torch.uint8))
        assert heads.probabilities(found, "multiclass").amax() > 0.999


def test_certain_probabilities_stay_finite():
    for activation in ("sigmoid", "softmax"):
        assert as_logits(torch.tensor([[[0.0, 1.0]]]), activation, 1).isfinite().all()


def test_an_answer_without_channels_gets_their_axis():
    spec = ModelSpec(
        architecture="exported", in_channels=1, classes=["a", "b"], margin=0, activation="argmax"
    )

    class Labels(nn.Module):
        def forward(self, x):
            return {"labels": (x[:, 0] > 0).long()}

    x = torch.randn(1, 1, 4, 4)
    logits = AsLogits(Labels(), spec)(x)
    assert logits.shape == (1, 2, 4, 4)
    assert torch.equal(heads.labels(logits, "multiclass"), (x[:, 0] > 0).to(torch.uint8))


@pytest.mark.parametrize("dims", [2, 3])
def test_enlarging_lies_on_one_lattice(dims):
    """What is enlarged from a part equals that part of the whole, but for what its edge lacks."""
    whole = enlarged(torch.randn(1, 1, *(8,) * dims, generator=torch.Generator().manual_seed(0)), 4)
    coarse = torch.randn(1, 1, *(8,) * dims, generator=torch.Generator().manual_seed(0))
    part = enlarged(coarse[(..., *(slice(2, 8),) * dims)], 4)
    inner = (..., *(slice(4, 24),) * dims)
    torch.testing.assert_close(
        part[inner], whole[(..., *(slice(12, 32),) * dims)][(..., *(slice(0, 20),) * dims)]
    )
