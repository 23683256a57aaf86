# An objective is one number for the whole batch, however it is shared; and it says what does not fit.

import numpy as np
import pytest
import torch

from unet_batch.errors import ConfigError
from unet_batch.models.spec import ModelSpec
from unet_batch.training.losses.config import LossConfig
from unet_batch.training.losses.target import Target
from unet_batch.training.losses.weighted_loss import KINDS, make_loss

NAMES = ("a", "b", "c")
PAIRS = [(head, kind) for head, kinds in KINDS.items() for kind in kinds]


def spec_of(head):
    return ModelSpec(in_channels=1, classes=NAMES, head=head)


def labels_of(head, n, seed=0):
    """Sparse labels, and so few in the second half that halves must not be averaged."""
    rng = np.random.default_rng(seed)
    if head == "regression":
        labels = rng.normal(size=(n, 3, 12, 12)).astype(np.float32)
        labels[n // 2 :, :, :4] = np.nan
        return torch.from_numpy(labels)
    labels = rng.integers(0, 3 if head == "multiclass" else 2, (n, 12, 12))
    labels[n // 2 :, 1:] = 255
    if head == "multilabel":
        labels = np.stack([labels, np.where(labels < 2, 1 - labels, 255), labels], axis=1)
    return torch.from_numpy(labels)


def whole(sums):
    return sums


@pytest.mark.parametrize(("head", "kind"), PAIRS)
def test_two_ranks_give_the_loss_and_the_gradient_of_one(head, kind):
    objective = make_loss(LossConfig(kind=kind), spec_of(head))
    labels, logits = labels_of(head, 4), torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    weights = torch.rand(4, 12, 12, generator=torch.Generator().manual_seed(1))
    fill = np.nan if head == "regression" else 255
    together = logits.clone().requires_grad_()
    expected = objective([together], Target.of(labels, weights, head, fill), whole)
    expected.backward()

    halves = [logits[:2].clone().requires_grad_(), logits[2:].clone().requires_grad_()]
    targets = [Target.of(labels[s], weights[s], head, fill) for s in (slice(2), slice(2, 4))]
    parts = [
        torch.cat([term.sums(half.detach(), target) for _, term in objective.terms])
        for half, target in zip(halves, targets, strict=True)
    ]
    for half, target in zip(halves, targets, strict=True):
        # As Ranks.sum_with_gradient has it, with the other rank's sums at hand.
        loss = objective([half], target, lambda own: sum(parts) + 2 * (own - own.detach()))
        loss.backward()
        assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    found = torch.cat([half.grad for half in halves]) / 2  # what DistributedDataParallel averages
    torch.testing.assert_close(found, together.grad, rtol=1e-4, atol=1e-7)


def test_coarser_answers_count_half_as_much_each():
    objective = make_loss(LossConfig(), spec_of("multiclass"))
    target = Target.of(labels_of("multiclass", 2), None, "multiclass", 255)
    answers = [torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    alone = [float(objective([answer], target, whole)) for answer in answers]
    found = float(objective(answers, target, whole))
    assert found == pytest.approx((alone[0] + alone[1] / 2 + alone[2] / 4) / 1.75, rel=1e-6)


@pytest.mark.parametrize("head", KINDS)
def test_auto_is_the_first_kind_of_a_head(head):
    spec = spec_of(head)
    assert make_loss(LossConfig(), spec) == make_loss(LossConfig(kind=KINDS[head][0]), spec)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "l1"}, "l1 does not fit a multiclass head; choose cross_entropy"),
        ({"class_weights": [1, 2]}, "2 weights for 3 classes"),
        ({"kind": "dice", "class_weights": [1, 2, 3]}, "no meaning for dice"),
    ],
)
def test_what_does_not_fit_is_one_line(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make_loss(LossConfig(**settings), spec_of("multiclass"))
    assert "\n" not in str(caught.value)
