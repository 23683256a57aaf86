"""Zarr without its own threads: on a busy machine a campaign spends most of its time waiting for them.

What is written, and in which order, stays the same; only who does it is another.
"""

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import zarr.core.sync

_here = threading.local()


def use() -> None:
    """Have every zarr call run to its end in the thread that makes it."""
    asyncio.to_thread = _at_once  # type: ignore[assignment]
    was = zarr.core.sync.sync
    for name, module in [*sys.modules.items()]:
        if name.startswith("zarr") and getattr(module, "sync", None) is was:
            module.sync = _sync  # type: ignore[attr-defined]


async def _at_once(function: Callable[..., Any], /, *arguments: Any, **keys: Any) -> Any:
    return function(*arguments, **keys)


def _sync(coroutine: Coroutine[Any, Any, Any], loop: object = None, timeout: object = None) -> Any:
    del loop, timeout
    if not hasattr(_here, "loop"):
        _here.loop = asyncio.new_event_loop()
    return _here.loop.run_until_complete(coroutine)
