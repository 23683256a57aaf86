"""History: losses and scores by step, as CSV and for TensorBoard; a resumed run continues both."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from unet_batch.atomic import atomic_path
from unet_batch.errors import FormatError
from unet_batch.store.io_errors import writing

Row = dict[str, float]

STEP_COLUMNS = ("step", "loss", "gradient_norm", "learning_rate", "images_per_second", "waiting")
_FLUSH_EVERY = 20  # steps


class History:
    """An open history; close it, or use it as a context.

    Rows of steps after ``step``, which a killed run left behind, are removed.
    """

    def __init__(self, path: Path, board: Path, scores: Sequence[str], step: int) -> None:
        self.path, self.columns = path, [*STEP_COLUMNS, *scores]
        kept = [row for row in read_history(path) if row["step"] <= step] if path.exists() else []
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            _writer(file, self.columns, header=True).writerows(_text(row) for row in kept)
        with writing(str(path)):
            self._file = path.open("a", newline="", encoding="utf-8")
        self._rows = _writer(self._file, self.columns, header=False)
        self._board = _open_board(board, step)

    def add(self, row: Mapping[str, float]) -> None:
        """One step; ``row`` has its ``step`` and any of the other columns."""
        step = int(row["step"])
        with writing(str(self.path)):
            self._rows.writerow(_text(row))
        if step % _FLUSH_EVERY == 0 or len(row) > len(STEP_COLUMNS):
            self.flush()
        if self._board is not None:
            for name, value in row.items():
                if name != "step":
                    group = "train" if name in STEP_COLUMNS else "validation"
                    self._board.add_scalar(f"{group}/{name}", value, step)

    def flush(self) -> None:
        """Hand what was added to the file system."""
        with writing(str(self.path)):
            self._file.flush()

    def close(self) -> None:
        """Write what is left."""
        with writing(str(self.path)):
            self._file.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def read_history(path: Path) -> list[Row]:
    """The rows at ``path``; a torn last one is left out.

    Raises:
        FormatError: not a history.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        rows = [
            {k: float(v) for k, v in line.items() if k and v not in ("", None)}
            for line in lines
            if None not in line.values()
        ]
        return [row for row in rows if row["step"] >= 0]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise FormatError(f"{path}: no history of a training ({error}); move it away") from None


def _writer(file: Any, columns: list[str], *, header: bool) -> "csv.DictWriter[str]":
    writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
    if header:
        writer.writeheader()
    return writer


def _text(row: Mapping[str, float]) -> dict[str, str]:
    """Numbers with all their digits, so that two runs can be compared."""
    return {name: repr(int(v) if name == "step" else float(v)) for name, v in row.items()}


def _open_board(folder: Path, step: int) -> Any | None:
    """TensorBoard's writer; None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional dependency
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
