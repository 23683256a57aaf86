# Every term against plain numpy formulas, and against torch.nn.functional where torch means the same.

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from torch.nn import functional

from unet_batch.training.losses.target import Target
from unet_batch.training.losses.terms import (
    BinaryCrossEntropy,
    CrossEntropy,
    Difference,
    Dissimilarity,
    Overlap,
)

SHAPES = [(2, 3, 6, 7), (2, 3, 4, 5, 6)]
WEIGHTS = (1.0, 0.5, 2.0)


def logits_of(shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 2, shape).astype(np.float32))


def classes_of(shape, ignored=0.3, seed=1):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    return torch.from_numpy(np.where(rng.random(labels.shape) < ignored, 255, labels))


def map_of(shape, seed=2):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(0.1, 3, (shape[0], *shape[2:])).astype(np.float32))


def channels_of(shape, seed=3):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.choice([0, 1, 255], shape))


def value(term, logits, target):
    return float(term.value(term.sums(logits, target)))


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_is_torchs(shape, weights):
    logits, labels = logits_of(shape), classes_of(shape)
    factors = None if weights is None else torch.tensor(weights)
    expected = functional.cross_entropy(logits, labels, factors, ignore_index=255)
    found = value(CrossEntropy(weights), logits, Target.of(labels, None, "multiclass", 255))
    assert found == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 0.5])
def test_weighted_focal_loss_by_the_formula(gamma):
    shape = SHAPES[0]
    logits, labels, weights = logits_of(shape), classes_of(shape), map_of(shape)
    p = softmax(logits.double().numpy())
    y, w, a = labels.numpy(), weights.numpy().astype(float), np.array(WEIGHTS)
    known = y != 255
    p_true = np.take_along_axis(p, np.where(known, y, 0)[:, None], 1)[:, 0][known]
    each = w[known] * a[y[known]]
    expected = (each * (1 - p_true) ** gamma * -np.log(p_true)).sum() / each.sum()
    found = value(CrossEntropy(WEIGHTS, gamma), logits, Target.of(labels, weights, "multiclass", 255))
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_focal_loss_has_a_slope_where_it_is_perfect():
    logits = torch.tensor([[[[80.0]], [[-80.0]]]], requires_grad=True)
    target = Target.of(torch.zeros(1, 1, 1, dtype=torch.long), None, "multiclass", 255)
    term = CrossEntropy(None, 0.5)
    term.value(term.sums(logits, target)).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_weighted_binary_cross_entropy_by_the_formula(gamma):
    shape = SHAPES[0]
    logits, labels, weights = logits_of(shape), channels_of(shape), map_of(shape)
    p, y = sigmoid(logits.double().numpy()), labels.numpy()
    p_true = np.where(y == 1, p, 1 - p)
    each = (y != 255) * weights.numpy()[:, None] * np.array(WEIGHTS).reshape(1, 3, 1, 1)
    expected = (each * (1 - p_true) ** gamma * -np.log(p_true)).sum() / each.sum()
    target = Target.of(labels, weights, "multilabel", 255)
    assert value(BinaryCrossEntropy(WEIGHTS, gamma), logits, target) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.3, 0.7)])
def test_tversky_by_the_formula(shape, background, alpha, beta):
    logits, labels, weights = logits_of(shape), classes_of(shape), map_of(shape)
    p, y = softmax(logits.double().numpy()), labels.numpy()
    w = (weights.numpy() * (y != 255))[:, None]
    t = y[:, None] == np.arange(shape[1]).reshape(1, -1, *(1,) * (len(shape) - 2))
    axes = (0, *range(2, len(shape)))
    hit, over, missed = ((w * part).sum(axes) for part in (p * t, p * ~t, (1 - p) * t))
    index = (hit + 2) / (hit + alpha * over + beta * missed + 2)
    expected = 1 - index[0 if background else 1 :].mean()
    target = Target.of(labels, weights, "multiclass", 255)
    found = value(Overlap("multiclass", alpha, beta, 2.0, background), logits, target)
    assert found == pytest.approx(expected, rel=1e-5)


def test_dice_of_channels_by_the_formula():
    shape = SHAPES[0]
    logits, labels = logits_of(shape), channels_of(shape)
    p, y = sigmoid(logits.double().numpy()), labels.numpy()
    w, t = y != 255, y == 1
    axes = (0, 2, 3)
    dice = (2 * (w * p * t).sum(axes) + 2) / ((w * p).sum(axes) + (w * t).sum(axes) + 2)
    target = Target.of(labels, None, "multilabel", 255)
    found = value(Overlap("multilabel", 0.5, 0.5, 1.0, background=False), logits, target)
    assert found == pytest.approx(1 - dice.mean(), rel=1e-5)


@pytest.mark.parametrize("kind", ["l1", "l2", "huber"])
def test_differences_are_torchs_where_targets_are_known(kind):
    shape = SHAPES[0]
    logits, truth = logits_of(shape), logits_of(shape, 5)
    known = torch.from_numpy(np.random.default_rng(6).random(shape) < 0.5)
    labels = torch.where(known, truth, torch.full_like(truth, np.nan))
    theirs = {"l1": functional.l1_loss, "l2": functional.mse_loss}.get(kind)
    pair = (logits[known], truth[known])
    expected = theirs(*pair) if theirs else functional.huber_loss(*pair, delta=0.7)
    found = value(Difference(kind, 0.7), logits, Target.of(labels, None, "regression", np.nan))
    assert found == pytest.approx(float(expected), rel=1e-6)


def structural_similarity(x, y, window, data_range):
    """SSIM of every whole window (Y, X), by the definition."""
    mean = {name: uniform_filter(v, window) for name, v in {"x": x, "y": y}.items()}
    var_x = uniform_filter(x * x, window) - mean["x"] ** 2
    var_y = uniform_filter(y * y, window) - mean["y"] ** 2
    both = uniform_filter(x * y, window) - mean["x"] * mean["y"]
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    found = (2 * mean["x"] * mean["y"] + c1) * (2 * both + c2)
    found /= (mean["x"] ** 2 + mean["y"] ** 2 + c1) * (var_x + var_y + c2)
    rim = window // 2
    return found[rim:-rim, rim:-rim]


def test_ssim_by_the_definition():
    x, y = (logits_of((1, 1, 20, 23), seed) for seed in (7, 8))
    expected = 1 - structural_similarity(*(v[0, 0].double().numpy() for v in (x, y)), 5, 4.0).mean()
    found = value(Dissimilarity(5, 4.0), x, Target.of(y, None, "regression", np.nan))
    assert found == pytest.approx(expected, rel=1e-4)


def test_ssim_counts_windows_that_are_wholly_labelled():
    x, y = (logits_of((1, 1, 20, 23), seed) for seed in (7, 8))
    partly = y.clone()
    partly[..., :9] = np.nan
    expected = value(Dissimilarity(5, 4.0), x[..., 9:], Target.of(y[..., 9:], None, "regression", np.nan))
    found = value(Dissimilarity(5, 4.0), x, Target.of(partly, None, "regression", np.nan))
    assert found == pytest.approx(expected, rel=1e-5)


TERMS = [
    (CrossEntropy(None), "multiclass"),
    (CrossEntropy(None, 2.0), "multiclass"),
    (Overlap("multiclass", 0.5, 0.5, 1.0, background=True), "multiclass"),
    (BinaryCrossEntropy(None), "multilabel"),
    (Overlap("multilabel", 0.3, 0.7, 1.0, background=True), "multilabel"),
    (Difference("l1", 1.0), "regression"),
    (Dissimilarity(3, 1.0), "regression"),
]
LABELS = {
    "multiclass": classes_of,
    "multilabel": channels_of,
    "regression": lambda shape: logits_of(shape, 9),
}
FILLS = {"multiclass": 255, "multilabel": 255, "regression": np.nan}


@pytest.mark.parametrize(("term", "head"), TERMS)
def test_what_lies_under_unlabelled_pixels_changes_nothing(term, head):
    shape = SHAPES[0]
    labels = LABELS[head](shape)
    labels[..., :4] = FILLS[head]
    logits = logits_of(shape)
    other = logits.clone()
    other[..., :3] = 50.0
    target = Target.of(labels, None, head, FILLS[head])
    if isinstance(term, Dissimilarity):  # a window's centre is one pixel from its rim
        assert value(term, logits, target) == value(term, other, target)
    else:
        assert value(term, logits, target) == pytest.approx(value(term, other, target), rel=1e-6)


@pytest.mark.parametrize(("term", "head"), TERMS)
def test_a_weight_of_zero_is_as_good_as_no_label(term, head):
    shape = SHAPES[0]
    labels, weights = LABELS[head](shape), map_of(shape)
    weights[..., :2] = 0
    without = labels.clone()
    without[..., :2] = FILLS[head]
    pair = [Target.of(part, weights, head, FILLS[head]) for part in (labels, without)]
    logits = logits_of(shape)
    assert value(term, logits, pair[0]) == pytest.approx(value(term, logits, pair[1]), rel=1e-6)


@pytest.mark.parametrize(("term", "head"), TERMS)
def test_nothing_labelled_is_no_loss_and_no_slope(term, head):
    shape = SHAPES[0]
    labels = torch.full_like(LABELS[head](shape), FILLS[head])
    logits = logits_of(shape).requires_grad_()
    loss = term.value(term.sums(logits, Target.of(labels, None, head, FILLS[head])))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) == 0
