"""Meeting: the ranks of one round find each other at a store that may remember earlier rounds.

torchrun's agents keep one store for all restarts and write nothing into it that tells the rounds apart (torch
2.13), and may count restarts differently. A rank that starts again would find the addresses of the dead.
"""

import json
import os
import time
from datetime import timedelta
from uuid import uuid4

from torch.distributed.distributed_c10d import PrefixStore, Store

from unet_batch.errors import RankError

_CALL = "call"
_POLL_SECONDS = 0.1


def meet(store: Store, rank: int, count: int, patience: timedelta) -> Store:
    """A part of ``store`` that only the ranks of this round have, once all of them are here.

    The first rank calls under a name that nobody had before; each rank that hears it answers with a name of
    its own; once all have, the first says whom it heard. A rank whose name is not among these heard the dead,
    and listens on.

    Raises:
        RankError: a rank did not come in time.
    """
    own, call, limit = uuid4().hex, "", time.monotonic() + patience.total_seconds()
    if rank == 0:
        store.set(_CALL, own)
    while True:
        heard = _read(store, _CALL)
        if heard != call:
            call = heard
            store.set(_answer(call, rank), own)
        if rank == 0 and store.check([_answer(own, other) for other in range(count)]):
            store.set(f"{own}/go", json.dumps([_read(store, _answer(own, other)) for other in range(count)]))
        if own in json.loads(_read(store, f"{call}/go") or "[]"):
            return PrefixStore(f"{call}/round", store)
        if time.monotonic() > limit:
            raise _absence(store, call, count, patience)
        time.sleep(_POLL_SECONDS)


def _answer(call: str, rank: int) -> str:
    return f"{call}/here/{rank}"


def _read(store: Store, key: str) -> str:
    """What is there; nothing where nothing is, of which a store would wait."""
    return store.get(key).decode() if store.check([key]) else ""


def _absence(store: Store, call: str, count: int, patience: timedelta) -> RankError:
    absent = [rank for rank in range(count) if not store.check([_answer(call, rank)])] if call else [0]
    names = ", ".join(map(str, absent[:8] or [0])) + (", ..." if len(absent) > 8 else "")
    host, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
    return RankError(
        f"rank {names} of {count} did not come to {host}:{port} within {patience.total_seconds():.0f} s; "
        "check that it was started and can reach that host and port"
    )
