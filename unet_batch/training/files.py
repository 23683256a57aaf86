"""The files of a run: where they lie, and writing them beside their place and renaming them into it."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_batch.errors import OutputError
from unet_batch.store.lock import DriverLock


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
    def stop(self) -> Path:
        """Whoever makes this file ends the run at its next step; a new start removes it."""
        return self.root / "stop"

    @property
    def index(self) -> Path:
        """Counts of labels, kept for the next start."""
        return self.root / "index"

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder made, and ours alone.

        Raises:
            OutputError: it cannot be written.
            StoreBusyError: another run writes it.
        """
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        lock = DriverLock.acquire(self.root / ".run" / "lock")
        try:
            yield
        finally:
            lock.release()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the file system refuses, as an OutputError about ``path``."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); free space, or choose another run.out"
        ) from None


@contextmanager
def renamed(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it is flushed to the disk and takes its place at the end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with writing(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """``values`` at ``path``, whole or not at all."""
    with renamed(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, default=str) + "\n", encoding="utf-8")
