"""Latest: what a process keeps for the work that it does, and shares between its threads."""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Latest(Generic[KeyT, ValueT]):
    """``make(key)``, made once; that of another key before it is let go.

    Attributes:
        kept: at most one value, by its key.
    """

    def __init__(self, make: Callable[[KeyT], ValueT]) -> None:
        self.kept: dict[KeyT, ValueT] = {}
        self._make, self._making = make, threading.Lock()

    def __call__(self, key: KeyT) -> ValueT:
        """The value of ``key``; threads that ask meanwhile wait until it is made."""
        with self._making:
            if key not in self.kept:
                self.kept.clear()
                self.kept[key] = self._make(key)
            return self.kept[key]
