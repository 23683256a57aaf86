"""Facts: what a mask store, its ledger and its history say of a run. Draws nothing."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.engine import history
from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.store_status import failures_of, state_of, sum_stages
from unet_batch.errors import InputError
from unet_batch.products.scale import Scale
from unet_batch.store.arrays import open_array
from unet_batch.store.journal import Status
from unet_batch.store.ledger import FOLDER, Ledger, Totals
from unet_batch.store.lock import OutputLock
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

# What a plan has decided, by the setting that says it again.
_DECIDED = {"tile": "grid", "batch": "compute", "precision": "compute", "backend": "compute"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a store.

    Attributes:
        masks: the store.
        state: ``running``, ``incomplete``, ``failed`` or ``done``.
        totals: sums of its ledger.
        statuses: of every block, of the grid's shape.
        seconds: likewise, of work.
        counts: (*grid, classes) likewise, pixels.
        pixels: of the blocks that are done.
        runs: history, oldest first.
        failures: last lines of its log.
    """

    masks: Masks
    state: str
    totals: Totals
    statuses: NDArray[np.uint8]
    seconds: NDArray[np.float32]
    counts: NDArray[np.uint64]
    pixels: int
    runs: list[history.RunRecord]
    failures: list[str]

    @classmethod
    def gather(cls, path: str | Path) -> "Facts":
        """The facts of the store at ``path``, also while a run writes it.

        Raises:
            MissingError, FormatError: no mask store there, or none with a ledger.
            InputError: objects, which have no classes.
        """
        masks = Masks.open(path)
        if masks.layout.kind == "instances":
            raise InputError(f"{path}: holds objects; give the masks that they were found in")
        ledger = Ledger.open(path)
        totals, running = ledger.totals(), OutputLock.held(Path(path) / FOLDER / "lock")
        blocks = {status.name.lower(): count for status, count in totals.blocks.items()}
        now = history.current(str(path)) if running else None
        return cls(
            masks=masks,
            state="running" if running else state_of(blocks, finished=bool(masks.attributes.get("finished"))),
            totals=totals,
            statuses=ledger.statuses,
            seconds=_column(path, "seconds"),
            counts=_column(path, "counts"),
            pixels=masks.layout.blocks.pixels(np.equal(ledger.statuses, Status.DONE)),
            runs=history.read(str(path)) + ([now] if now else []),
            failures=failures_of(path),
        )

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What the prediction said of itself."""
        found = self.masks.attributes.get("provenance")
        return found if isinstance(found, Mapping) else {}

    @property
    def plan(self) -> Mapping[str, Any]:
        """What it was to do."""
        found = self.masks.attributes.get("plan")
        return found if isinstance(found, Mapping) else {}

    @property
    def stages(self) -> dict[str, float]:
        """Worker seconds by stage over all runs."""
        return sum_stages(run.stages for run in self.runs)

    @property
    def busiest(self) -> history.RunRecord | None:
        """The run that computed most; rates are told of that one."""
        return max((run for run in self.runs if run.pixels), key=lambda run: run.pixels, default=None)

    @property
    def forward(self) -> float | None:
        """Pixels per second of the network alone, as the trial measured it, times the workers of that run."""
        rate = self.provenance.get("trial_pixels_per_second")
        if self.busiest is None or not isinstance(rate, int | float) or rate <= 0:
            return None
        return float(rate) * max(1, len(self.busiest.workers))

    @property
    def share(self) -> float | None:
        """The busiest run's rate as a share of that."""
        if self.busiest is None or self.forward is None:
            return None
        return self.busiest.pixels_per_second / self.forward

    @property
    def amplification(self) -> float | None:
        """Bytes that were decoded for each byte that the blocks cover; None where nothing was read."""
        needed = sum(run.needed_bytes for run in self.runs)
        return sum(run.decoded_bytes for run in self.runs) / needed if needed else None

    def sizes(self) -> tuple[list[float] | None, str | None]:
        """Area or volume of each class, None where pixels are not all of one size; the unit of lengths."""
        scale, dims = Scale.of(self.masks), self.masks.layout.dims
        if scale.ellipsoid is not None:
            return None, scale.unit
        size = float(scale.measures(np.zeros(1), dims)[0])
        return [count * size for count in self.totals.class_counts], scale.unit

    def command(self) -> str | None:
        """The command that repeats the prediction, with what was automatic as it was decided."""
        said, plan = self.provenance, self.plan
        if not isinstance(said.get("models"), list) or not isinstance(said.get("image"), str):
            return None
        settings = _arithmetic(said.get("given") or said.get("settings"))
        dims = self.masks.layout.dims
        for key, part in _DECIDED.items():
            value = plan.get(part, {}).get(key)
            if value is not None:
                settings[key] = value[-dims:] if isinstance(value, list) else value
        words = ["unet-batch", "predict", said["image"], str(Path(self.masks.path).absolute())]
        words += [word for model in said["models"] for word in ("--model", str(model))]
        words += ["--axes", str(said["axes"])] if said.get("axes") else []
        for key, value in settings.items():
            words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
        return shlex.join(words)


def _column(path: str | Path, name: str) -> NDArray[Any]:
    array = open_array(Path(path) / FOLDER / name)
    return array.read(Box.of_shape(array.shape))


def _arithmetic(settings: object) -> dict[str, Any]:
    """Settings that say something of the result; where it is computed, whoever repeats it knows best."""
    known = settings if isinstance(settings, Mapping) else {}
    elsewhere = {*ExecutionConfig.model_fields, "device"}
    return {k: v for k, v in known.items() if k not in elsewhere and v not in (None, "auto", False)}
