"""Stopwatch: seconds by stage of the work on one block, for its event. Logs nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """``with stopwatch("read"):`` adds what the inside took to ``seconds["read"]``."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time one stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started
