"""Evaluator: predicts the boxes of a validation, or test, as prediction would, and scores them.

The best checkpoint is chosen by ``selection_score``.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from unet_batch.errors import ConfigError
from unet_batch.instances.labels import instances, without_small
from unet_batch.models.spec import ModelSpec
from unet_batch.training.config import ValidationConfig
from unet_batch.training.data.region import Region
from unet_batch.training.distributed import Ranks
from unet_batch.training.metrics.classes import ClassTally
from unet_batch.training.metrics.instances import INSTANCE_SCORES, InstanceTally
from unet_batch.training.metrics.membranes import MEMBRANE_SCORES, MembraneTally
from unet_batch.training.metrics.regression import REGRESSION_SCORES, RegressionTally
from unet_batch.training.region_predictor import Predicted, RegionPredictor

Scores = dict[str, float]
Tally = ClassTally | RegressionTally | MembraneTally | InstanceTally


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Scores networks of ``spec`` on regions; the ranks share the regions.

    Attributes:
        config: which scores.
        spec: the networks' description.
        predictor: how they are applied.
        ranks: who takes part.
        data_range: of regression targets.
    """

    config: ValidationConfig
    spec: ModelSpec
    predictor: RegionPredictor
    ranks: Ranks
    data_range: float

    def __post_init__(self) -> None:
        for name in self._classes_named():
            if self.spec.head != "multiclass" or name not in self.spec.classes:
                raise ConfigError(
                    f"validation: {name} is no class of a multiclass model ({', '.join(self.spec.classes)}); "
                    "name one of them, or leave these scores out"
                )
        selection_metric(self.config, self.spec)

    def __call__(
        self, network: nn.Module, regions: Sequence[Region], membrane_threshold: float | None = None
    ) -> Scores:
        """Scores by name, alike on all ranks; none where there are no regions.

        ``membrane_threshold`` takes the place of those in the settings: on test boxes nothing is chosen.
        """
        own = regions[self.ranks.rank :: self.ranks.count]
        mine = [(region.number, self._tallies(network, region, membrane_threshold)) for region in own]
        # In the regions' order, as float sums depend on it.
        told = sorted((pair for part in self.ranks.gather(mine) for pair in part), key=lambda pair: pair[0])
        return _merged([tallies for _, tallies in told])

    def _tallies(self, network: nn.Module, region: Region, threshold: float | None) -> list[Tally]:
        membranes = self.config.membranes
        kept = None if membranes is None else self.spec.classes.index(membranes.membrane)
        found = self.predictor(network, region, kept)
        truth = region.read_labels(region.box)
        tallies: list[Tally] = [self._plain(truth, found.labels, region)]
        if membranes is not None:
            thresholds = membranes.thresholds if threshold is None else (threshold,)
            tallies.append(self._membranes(truth[0], found, region, thresholds))
        if self.config.instances is not None:
            tallies.append(self._instances(truth[0], found.labels[0], region))
        return tallies

    def _plain(self, truth: NDArray[Any], found: NDArray[Any], region: Region) -> Tally:
        if self.spec.head == "regression":
            tally = RegressionTally(self.spec.classes, self.data_range)
            for place in self._parts(region):
                tally.add(_at(truth, place), _at(found, place))
            return tally
        empty = ClassTally.empty(self.spec.classes, exclusive=self.spec.head == "multiclass")
        return empty.plus(truth, found, int(region.stores.form.fill))

    def _membranes(
        self, truth: NDArray[Any], found: Predicted, region: Region, thresholds: tuple[float, ...]
    ) -> MembraneTally:
        assert self.config.membranes is not None
        assert found.probability is not None
        membrane = self.spec.classes.index(self.config.membranes.membrane)
        tally = MembraneTally(thresholds)
        for place in np.ndindex(truth.shape[:-2]):
            plane = truth[place]
            tally.add(plane == membrane, plane != region.stores.form.fill, found.probability[place])
        return tally

    def _instances(self, truth: NDArray[Any], found: NDArray[Any], region: Region) -> InstanceTally:
        assert self.config.instances is not None
        numbers, smallest = None, self.config.instances.completed_by(self.spec.objects).smallest
        if region.stores.instances is not None:
            numbers = region.read_instances(region.box)[0]
        tally = InstanceTally()
        for place in self._parts(region):
            fill = region.stores.form.fill
            true = self._labelled(truth[place], int(fill), 1) if numbers is None else numbers[place]
            tally.add(true, self._labelled(found[place], int(fill), smallest))
        return tally

    def _labelled(self, classes: NDArray[Any], fill: int, smallest: int) -> NDArray[np.int32]:
        """Numbers of the instances that ``objects`` would find in ``classes`` (*box)."""
        assert self.config.instances is not None
        rules, names = self.config.instances.completed_by(self.spec.objects), self.spec.classes
        interior = classes == names.index(rules.interior)
        border = ~interior & (classes != names.index(rules.background)) & (classes != fill)
        labels, _ = instances(
            interior.astype(np.uint16), border, connectivity=rules.connectivity, reach=rules.reach
        )
        return without_small(labels, smallest)

    def _parts(self, region: Region) -> Iterator[tuple[int, ...]]:
        """Places on the outer axes: of a stack of planes, each plane for itself."""
        yield from np.ndindex(region.box.shape[: region.box.ndim - self.spec.dims])

    def _classes_named(self) -> list[str]:
        membranes, instances = self.config.membranes, self.config.instances
        names = [] if membranes is None else [membranes.membrane]
        return names + ([] if instances is None else [instances.interior, instances.background])


def _at(array_KX: NDArray[Any], place: tuple[int, ...]) -> NDArray[Any]:
    """All channels at a place on the outer axes."""
    index: tuple[slice | int, ...] = (slice(None), *place)
    return array_KX[index]


def _merged(told: list[list[Tally]]) -> Scores:
    if not told:
        return {}
    totals = told[0]
    for tallies in told[1:]:
        totals = [a + b for a, b in zip(totals, tallies, strict=True)]  # type: ignore[operator]  # alike
    return {name: value for tally in totals for name, value in tally.scores().items()}


def selection_score(config: ValidationConfig, spec: ModelSpec, scores: Scores) -> float:
    """What the best checkpoint is chosen by: the value of ``selection_metric``; more is better.

    Minus infinity where these boxes do not give that score, as a class is nowhere.
    """
    name = selection_metric(config, spec)
    value = scores.get(name, -math.inf)
    return -value if name in scores and name.endswith("error") else value


def selection_metric(config: ValidationConfig, spec: ModelSpec) -> str:
    """Name of the score that the best checkpoint is chosen by.

    Raises:
        ConfigError: a score that there is not.
    """
    name = config.choose or ("pearson" if spec.head == "regression" else "mean_dice")
    names = score_names(config, spec)
    if name not in names:
        raise ConfigError(f"validation.choose: there is no score {name}; the scores are {', '.join(names)}")
    return name


def score_names(config: ValidationConfig, spec: ModelSpec) -> tuple[str, ...]:
    """Names of all scores that ``Evaluator`` may give, in its order."""
    if spec.head == "regression":
        per_channel = spec.classes if len(spec.classes) > 1 else ()
        pairs = ([score, *(f"{score}_{name}" for name in per_channel)] for score in REGRESSION_SCORES)
        return tuple(name for pair in pairs for name in pair)
    empty = ClassTally.empty(spec.classes, exclusive=spec.head == "multiclass")
    once = ClassTally(empty.names, tuple(np.ones_like(counts) for counts in empty.counts))
    return (
        *once.scores(),
        *(MEMBRANE_SCORES if config.membranes else ()),
        *(INSTANCE_SCORES if config.instances else ()),
    )
