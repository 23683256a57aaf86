"""The files of a training run: where they lie, and the lock on their folder."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_batch.atomic import atomic_write, sweep
from unet_batch.store.io_errors import writing
from unet_batch.store.lock import OutputLock


@dataclass(frozen=True, slots=True)
class RunFolder:
    """``root`` holds one training."""

    root: Path

    @property
    def state(self) -> Path:
        """Where the run stands."""
        return self.root / "state.pt"

    @property
    def best(self) -> Path:
        """The checkpoint with the best score so far."""
        return self.root / "best.safetensors"

    @property
    def last(self) -> Path:
        """The checkpoint of the last validation."""
        return self.root / "last.safetensors"

    @property
    def metrics(self) -> Path:
        """Losses and scores by step."""
        return self.root / "metrics.csv"

    @property
    def board(self) -> Path:
        """The same for TensorBoard."""
        return self.root / "tensorboard"

    @property
    def settings(self) -> Path:
        """What the run was last started with."""
        return self.root / "config.yaml"

    @property
    def curves(self) -> Path:
        """Losses and scores drawn."""
        return self.root / "curves.png"

    @property
    def predictions(self) -> Path:
        """Images, truth and answers drawn."""
        return self.root / "predictions.png"

    @property
    def done(self) -> Path:
        """There once the last step is done and judged; batch systems look for it."""
        return self.root / "done.json"

    @property
    def labels(self) -> Path:
        """What tells whether labels have changed."""
        return self.root / "labels.json"

    @property
    def stop(self) -> Path:
        """Whoever makes this file ends the run at its next step; a new start removes it."""
        return self.root / "stop"

    @property
    def index(self) -> Path:
        """Counts of labels, kept for the next start."""
        return self.root / "index"

    def clear(self) -> None:
        """Remove what a training wrote, and nothing else."""
        own = (self.state, self.best, self.last, self.metrics, self.settings, self.curves, self.predictions)
        pages = (self.best.with_suffix(".md"), self.last.with_suffix(".md"))
        with writing(str(self.root)):
            for path in (self.done, *own, *pages, self.labels):
                path.unlink(missing_ok=True)
            for folder in (self.board, self.index):
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder made, and ours alone.

        Raises:
            OutputError: it cannot be written.
            StoreBusyError: another run writes it.
        """
        lock = OutputLock.inside(self.root / ".run")
        try:
            sweep(self.root)
            yield
        finally:
            lock.release()


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """``values`` at ``path``, whole or not at all."""
    atomic_write(path, json.dumps(values, indent=2, default=str) + "\n")
