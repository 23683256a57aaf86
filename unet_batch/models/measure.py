"""What a network is, measured: legal sizes, how far it looks, and at which steps it answers alike."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import lcm

from torch import nn

from unet_batch.errors import InputError
from unet_batch.models.probe import LARGEST, Probe
from unet_batch.models.receptive_field import ReceptiveField
from unet_batch.tiling import round_up

STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40, 48, 64, 80, 96, 128)
FIRST = {2: (64, 96, 128, 192, 256, 188, 224, 384, 512, 572), 3: (16, 32, 48, 64, 44, 96, 128, 92, 132)}
RUN = {2: 64, 3: 16}  # successive sizes that are looked at, from the first that is taken
USUAL = {2: 32, 3: 16}
ALIGNED = 64  # where windows start while the network's own step is not known


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: legal sizes are ``step`` * k + ``rest``. ``margin`` None: all of the input matters."""

    margin: int | None
    step: int
    rest: int


def measured(module: nn.Module, dims: int, channels: int) -> ReceptiveField:
    """The receptive field of ``module``, which gives logits of its input's size or less.

    Where statistics over the input or attention make every pixel depend on all others, ``exact`` is False and
    the margin 0.

    Raises:
        InputError: a network that takes no size that was tried.
    """
    size = accepted_size(module, dims, channels)
    probe = Probe.of(module, dims, channels, size)
    runs = [_run(probe, axis, n) for axis, n in enumerate(size)]
    if any(len(run) < 2 for run in runs):
        margin = _from_the_middle(probe, size[0])
        return ReceptiveField(margin or 0, exact=margin is not None, fixed=size[0])
    probe.others = tuple(_smallest(probe, axis, run) for axis, run in enumerate(runs))
    axes = [_axis(probe, axis, run) for axis, run in enumerate(runs)]
    step = lcm(*(axis.step for axis in axes))
    rest = max(axis.rest for axis in axes)
    margins = [axis.margin for axis in axes if axis.margin is not None]
    if len(margins) < len(axes):
        usual = lcm(step, USUAL[dims])  # sizes alone do not tell by how much it pools
        return ReceptiveField(0, step if rest else usual, rest, exact=False)
    padded = all(probe.given(axis, run[0]) == run[0] for axis, run in enumerate(runs))
    return ReceptiveField(round_up(max(margins), step) if padded else max(margins), step, rest)


def accepted_size(module: nn.Module, dims: int, channels: int) -> tuple[int, ...]:
    """A size that the network takes on all axes.

    Raises:
        InputError: it takes none of those that were tried.
    """
    probe = Probe.of(module, dims, channels, (FIRST[dims][0],) * dims)
    for size in FIRST[dims]:
        probe.others = (size,) * dims
        if probe.given(0, size):
            return (size,) * dims
    raise InputError(
        f"the network takes none of the inputs that were tried ({channels} channels, {dims} axes of "
        f"{', '.join(map(str, FIRST[dims]))} px): {probe.refusal}; give in_channels, dims or fixed_size"
    )


def _run(probe: Probe, axis: int, size: int) -> list[int]:
    """Sizes from ``size`` on of which least is lost: others are cut by some rounding inside the network."""
    lost: dict[int, int] = {}
    for n in range(size, size + RUN[probe.dims] + 1):
        out = probe.given(axis, n)
        if out is not None and out <= n:  # more comes out where an odd size was rounded up
            lost[n] = n - out
        if sum(loss == 0 for loss in lost.values()) == 2:  # less cannot be
            break
    return [n for n, loss in lost.items() if loss == min(lost.values())]


def _smallest(probe: Probe, axis: int, run: Sequence[int]) -> int:
    """A small size that is taken along ``axis`` while another axis is asked about."""
    step = run[1] - run[0]
    lost = run[0] - (probe.given(axis, run[0]) or 0)
    return next(
        (n for n in range(run[0] % step or step, run[0], step) if n > lost and probe.given(axis, n)), run[0]
    )


def _axis(probe: Probe, axis: int, run: Sequence[int]) -> Axis:
    step = run[1] - run[0]
    rest = run[0] % step
    margin = _margin(probe, axis, Axis(None, lcm(step, ALIGNED), run[0] % lcm(step, ALIGNED)))
    if margin is None:
        return Axis(None, step, rest)
    for multiple in (n * step for n in STEPS if n * step <= LARGEST[probe.dims] // 4):
        found = Axis(margin, multiple, run[0] % multiple)
        if is_alike(probe, axis, found):
            return found if ALIGNED % multiple == 0 else replace(found, margin=_margin(probe, axis, found))
    return Axis(None, step, rest)


def is_alike(probe: Probe, axis: int, found: Axis) -> bool:
    """Whether windows one step apart agree on what both answer for."""
    assert found.margin is not None
    size = legal(2 * found.margin + 3 * found.step, found)
    moved = probe.moved(axis, size, found.step, found.margin)
    return moved is not None and moved <= probe.tolerance


def _margin(probe: Probe, axis: int, found: Axis) -> int | None:
    """How far outside pixels matter; None where they all do."""
    for size in _doubled(probe.dims):
        window = legal(size, found)
        reach = probe.unspoilt(axis, window, round_up(window // 2, found.step))
        if reach is not None:
            return max(reach.before, reach.behind)
    return None


def _doubled(dims: int) -> Iterator[int]:
    size = FIRST[dims][0]
    while size <= LARGEST[dims]:
        yield size
        size *= 2


def legal(size: int, found: Axis) -> int:
    """The smallest legal size from ``size`` on."""
    return size + (found.rest - size) % found.step


def _from_the_middle(probe: Probe, size: int) -> int | None:
    """Of a network that takes one size: how far a pixel in the middle is seen."""
    radii = [
        probe.radius(axis, position)
        for axis in range(probe.dims)
        for position in range(size // 2, size // 2 + 8)
    ]
    if None in radii or max(filter(None, radii), default=0) >= size // 2:
        return None
    return max(radius or 0 for radius in radii)
