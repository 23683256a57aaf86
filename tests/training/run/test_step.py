# One update: parts of a batch, recomputed activations, coarser answers, averages, and steps that are skipped.

import copy

import numpy as np
import pytest
import torch

from unet_batch.models.build import build
from unet_batch.models.spec import ModelSpec
from unet_batch.training.config import OptimiserConfig, ScheduleConfig
from unet_batch.training.distributed import Ranks
from unet_batch.training.ema import EMA
from unet_batch.training.losses.config import LossConfig
from unet_batch.training.losses.target import Target
from unet_batch.training.losses.weighted_loss import make_loss
from unet_batch.training.optimiser import LRScheduler, make_optimiser
from unet_batch.training.state import TrainState, read_state, restore, save_state
from unet_batch.training.step import Part, Step
from unet_batch.training.supervision import Supervised, checkpoint_activations

ALONE = Ranks(0, 1, torch.device("cpu"))
SIZE = {"valid": 60, "same": 32}


def spec_of(**keys):
    return ModelSpec.model_validate({"in_channels": 1, "classes": ["a", "b"], "width": 4, "depth": 2, **keys})


def step_of(spec, *, levels=0, recomputed=False, average=None, **optimiser):
    network = build(spec, 0)
    if recomputed:
        checkpoint_activations(network)
    module = Supervised(network, spec, levels)
    return Step(
        network=module,
        parallel=module,
        loss=make_loss(LossConfig(), spec),
        optimiser=make_optimiser(OptimiserConfig(**optimiser), module),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        ema=None if average is None else EMA(module, average),
        ranks=ALONE,
        dtype=None,
        layout=torch.contiguous_format,
        clip=None,
    )


def part_of(spec, n=4, seed=0):
    """Random images; of the second half little is labelled."""
    rng = np.random.default_rng(seed)
    size = SIZE[spec.padding]
    images = torch.from_numpy(rng.normal(size=(n, 1, size, size)).astype(np.float32))
    out = size - 2 * spec.receptive_field().margin if spec.padding == "valid" else size
    labels = torch.from_numpy(rng.integers(0, 2, (n, out, out)))
    labels[n // 2 :, 1:] = 255
    return images, labels


def parts(images, labels, count):
    pairs = zip(images.chunk(count), labels.chunk(count), strict=True)
    return [Part(image, Target.of(label, None, "multiclass", 255)) for image, label in pairs]


def weights_of(step):
    return {key: value.clone() for key, value in step.network.state_dict().items()}


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_parts_of_a_batch_are_worth_the_whole(padding):
    spec = spec_of(padding=padding)
    batch = part_of(spec)
    found = []
    for count in (1, 2, 4):
        step = step_of(spec, kind="sgd", learning_rate=0.1)
        outcome = step(parts(*batch, count), 0, 0.1)
        found.append((float(outcome.loss), float(outcome.gradient_norm), weights_of(step)))
    for loss, gradient, weights in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        assert gradient == pytest.approx(found[0][1], rel=1e-4)
        torch.testing.assert_close(weights, found[0][2])


@pytest.mark.parametrize(
    ("norm", "blocks"), [("none", "plain"), ("batch", "plain"), ("instance", "plain"), ("batch", "residual")]
)
def test_recomputed_activations_change_nothing(norm, blocks):
    spec = spec_of(padding="same", norm=norm, dropout=0.5, blocks=blocks)
    batch = part_of(spec)
    pair = [step_of(spec, recomputed=flag, kind="sgd") for flag in (False, True)]
    for step in pair:
        for number in range(2):
            torch.manual_seed(number)
            step(parts(*batch, 1), number, 0.1)
    torch.testing.assert_close(weights_of(pair[0]), weights_of(pair[1]))


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_step_without_a_finite_loss_leaves_everything_as_it_was(kind, first):
    spec = spec_of(padding="same", norm="batch")
    step = step_of(spec, average=0.9, kind=kind)
    images, labels = part_of(spec)
    for number in range(first):
        step(parts(images, labels, 1), number, 0.1)
    before = (weights_of(step), copy.deepcopy(step.optimiser.state_dict()), step.ema.state_dict())
    before = copy.deepcopy(before)
    images[0, 0, 0, 0] = torch.nan
    outcome = step(parts(images, labels, 1), first, 0.1)
    assert not outcome.updated
    assert not outcome.loss.isfinite()
    torch.testing.assert_close(weights_of(step), before[0], rtol=0, atol=0)
    torch.testing.assert_close(step.ema.state_dict(), before[2], rtol=0, atol=0)
    after = step.optimiser.state_dict()["state"]
    for number, kept in after.items():
        new = {key: torch.zeros_like(value) for key, value in kept.items()}
        began = before[1]["state"].get(number, new)
        torch.testing.assert_close(kept, began, rtol=0, atol=0)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("dims", [2, 3])
def test_coarser_answers_lie_over_the_finest(padding, dims):
    """Every head repeats the input's brightness, which rises along x: all answers must agree on where."""
    spec = spec_of(padding=padding, dims=dims, depth=3 if dims == 2 else 2, width=2)
    module = Supervised(build(spec, 0), spec, spec.depth - 1)
    size = spec.input_size(8)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        for block in [*module.network.encoder, module.network.bottom, *module.network.decoder]:
            for convolution in (block[0], block[2]):
                convolution.weight[(0, 0, *(1,) * dims)] = 1
        for head in [module.network.head, *module.heads]:
            head.weight[0, 0] = 1
    ramp = torch.arange(1.0, size + 1).expand(1, 1, *(size,) * dims)
    with torch.no_grad():
        answers = module(ramp)
    assert len(answers) == spec.depth
    rim = 8 if padding == "same" else 0  # where padding with zeros shows
    inner = slice(rim, answers[0].shape[-1] - rim)
    for level, answer in enumerate(answers[1:], start=1):
        assert answer.shape == answers[0].shape
        off = (answer - answers[0])[0, 0, ..., inner].abs().max()
        assert float(off) <= 2**level, "max pooling takes the brightest of 2^level pixels, no more"


def test_fixed_statistics_are_the_averages_and_stay():
    spec = spec_of(padding="same", norm="batch")
    step = step_of(spec, average=0.9, kind="sgd", learning_rate=0.1)
    step.fixed_from = 3
    states = [weights_of(step)]
    averages = [copy.deepcopy(step.ema.state_dict())]
    for number in range(5):
        step(parts(*part_of(spec, seed=number), 1), number, 0.1)
        states.append(weights_of(step))
        averages.append(copy.deepcopy(step.ema.state_dict()))
    statistics = [key for key in states[0] if key.endswith(("running_mean", "running_var"))]
    weights = [key for key, value in states[0].items() if key not in statistics and value.is_floating_point()]
    assert statistics
    for key in statistics:
        assert not torch.equal(states[2][key], states[3][key]), key  # measured until then
        assert not torch.equal(states[3][key], averages[3][key]), key
        for state in states[4:]:
            torch.testing.assert_close(state[key], averages[3][key], rtol=0, atol=0)
    assert all(not torch.equal(states[4][key], states[5][key]) for key in weights)


def test_statistics_are_the_averages_wherever_a_run_goes_on():
    """With fewer steps than before, say, so that the first fixed update has gone by."""
    spec = spec_of(padding="same", norm="batch")
    step = step_of(spec, average=0.9, kind="sgd", learning_rate=0.1)
    for number in range(3):
        step(parts(*part_of(spec, seed=number), 1), number, 0.1)
    averages = copy.deepcopy(step.ema.state_dict())
    step.fixed_from = 1
    step(parts(*part_of(spec, seed=3), 1), 3, 0.1)
    for key in (key for key in averages if key.endswith(("running_mean", "running_var"))):
        torch.testing.assert_close(weights_of(step)[key], averages[key], rtol=0, atol=0)


def test_what_learns_with_fixed_statistics_is_what_predicts():
    spec = spec_of(padding="same", norm="batch")
    step = step_of(spec)
    step.fixed_from = 0
    images, labels = part_of(spec)
    with torch.no_grad():
        predicted = step.network.eval()(images)
        expected = float(step.loss(predicted, parts(images, labels, 1)[0].target, ALONE.sum_with_gradient))
    assert float(step(parts(images, labels, 1), 0, 0.1).loss) == pytest.approx(expected, rel=1e-6)


def test_an_average_takes_in_statistics_as_it_does_weights():
    network = torch.nn.BatchNorm2d(1)
    average = EMA(network, 0.5)
    for step in range(30):
        network.running_mean.fill_(float(step))
        network.num_batches_tracked.fill_(step)
        average.update(network, step)
    assert float(average.network.running_mean) == pytest.approx(28, abs=0.01)
    assert int(average.network.num_batches_tracked) == 29


def test_an_average_follows_by_its_decay():
    network = torch.nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    average = EMA(network, 0.5)
    expected = 0.0
    for step in range(30):
        network.weight.data.fill_(float(step))
        average.update(network, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert float(average.network.weight.detach()) == pytest.approx(expected, rel=1e-5)


def test_weight_decay_leaves_biases_and_norms_alone():
    network = build(spec_of(norm="batch"), 0)
    groups = make_optimiser(OptimiserConfig(weight_decay=0.1), network).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert {decays[id(p)] for p in network.parameters() if p.ndim > 1} == {0.1}
    assert {decays[id(p)] for p in network.parameters() if p.ndim <= 1} == {0.0}
    assert len(decays) == len(list(network.parameters()))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"kind": "constant"}, [1, 1, 1]),
        ({"kind": "poly", "power": 2}, [1, 0.25, 0.01**1 * 0.01]),
        ({"kind": "cosine"}, [1, 0.5, (1 + np.cos(np.pi * 0.99)) / 2]),
        ({"kind": "cosine", "final": 0.2}, [1, 0.6, 0.2 + 0.8 * (1 + np.cos(np.pi * 0.99)) / 2]),
    ],
)
def test_a_schedule_at_its_ends_and_middle(settings, expected):
    found = [LRScheduler(ScheduleConfig(**settings), 1.0, 100)(step) for step in (0, 50, 99)]
    assert found == pytest.approx(expected)


def test_warming_up_is_a_straight_line():
    config = ScheduleConfig(kind="cosine", warmup=4)
    rates = [LRScheduler(config, 1.0, 100)(step) for step in range(5)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_state_of_plain_optimisers_and_other_layouts_goes_on(tmp_path):
    """As earlier versions wrote it: steps on the CPU, moments in another layout than the weights now have."""
    spec, kind = spec_of(padding="same"), "adamw"
    before, after = step_of(spec, kind=kind), step_of(spec, kind=kind)
    batch = part_of(spec)
    for number in range(2):
        before(parts(*batch, 1), number, 0.1)
    save_state(tmp_path / "state", before, TrainState(), spec, {})
    after.network.to(memory_format=torch.channels_last)
    saved = read_state(tmp_path / "state")
    for kept in saved.tensors["optimiser"]["state"].values():
        kept["step"] = kept["step"].double()
    restore(saved, after)
    for step in (before, after):
        step(parts(*batch, 1), 2, 0.1)
    torch.testing.assert_close(weights_of(after), weights_of(before))
