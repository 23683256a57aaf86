"""Ranks: the processes that train one network together: how they meet, add up, agree and fail.

torchrun's environment makes them; without it there is one, and nothing here costs anything. The network is
wrapped in DistributedDataParallel by ``Ranks.parallel``.
"""

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous as env_rendezvous
from torch.nn.parallel import DistributedDataParallel

from unet_batch.errors import InputError, RankError, UnetBatchError
from unet_batch.models.device import resolve_device

ValueT = TypeVar("ValueT")

# A validation may keep ranks waiting for others; a dead rank is seen sooner, by its connection.
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}  # what ranks tell each other goes by the host
_PATIENCE = timedelta(minutes=30)
_SIGNS = ("gloo", "nccl", "connection", "socket", "timed out", "store")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among ``count``, and its device."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files and reports."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """``values`` added up over the ranks; without gradient."""
        summed = values.detach().clone()
        if self.count > 1:
            with lost_rank_reported(self):
                dist.all_reduce(summed)
        return summed

    def sum_with_gradient(self, sums: Tensor) -> Tensor:
        """``sums`` added up over the ranks, with a gradient towards this rank's part.

        A loss made from them is one number on all ranks. Its gradient here is ``count`` times this rank's
        share, as DistributedDataParallel takes the mean of the ranks' gradients.
        """
        if self.count == 1:
            return sums
        return self.sum(sums) + self.count * (sums - sums.detach())

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` holds on some rank; the same answer on all."""
        if self.count == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag))).item())  # of the host: no device waits for it

    def gather(self, value: ValueT) -> list[ValueT]:
        """The value of every rank, in their order, on all ranks."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        with lost_rank_reported(self):
            dist.all_gather_object(values, value)
        return values

    def in_turn(self, act: Callable[[], ValueT]) -> ValueT:
        """``act`` on the first rank, then on the others; where it fails on the first, all fail alike.

        For what writes files that the others then read, and for input that may be bad.
        """
        value: list[ValueT] = []
        fault: UnetBatchError | None = None
        if self.first:
            try:
                value.append(act())
            except UnetBatchError as error:
                fault = error
        fault = self.broadcast(fault)
        if fault is not None:
            raise fault
        return value[0] if self.first else act()

    def parallel(self, network: nn.Module, *, broadcast_buffers: bool) -> nn.Module:
        """``network`` wrapped in DistributedDataParallel, or as it is where there is one rank.

        ``broadcast_buffers``: whether statistics of batch norms are those of the first rank; not needed where
        they are synchronised.
        """
        if self.count == 1:
            return network
        with warnings.catch_warnings():  # torch 2.13 has a new name for broadcast_buffers, which others lack
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(
                network,
                device_ids=[self.device] if self.device.type == "cuda" else None,
                broadcast_buffers=broadcast_buffers,
                gradient_as_bucket_view=True,
            )

    def broadcast(self, first: ValueT | None) -> ValueT:
        """The first rank's value on all ranks."""
        values: list[Any] = [first]
        if self.count > 1:
            with lost_rank_reported(self):
                dist.broadcast_object_list(values)
        return values[0]  # type: ignore[no-any-return]  # it travelled as an object


@contextmanager
def process_group(device: str, seconds: float) -> Iterator[Ranks]:
    """The ranks of torchrun's environment, once all have arrived, or this process alone.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; of several ranks, each takes the GPU of its place
            on its machine.
        seconds: how long to wait for the other ranks.

    Raises:
        InputError: no such device, or an environment that is not whole.
        RankError: the port is in use, or a rank did not come in time.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield Ranks(0, 1, torch.device(resolve_device(device)))
        return
    ranks = _own_place(device)
    if ranks.device.type == "cuda":
        torch.cuda.set_device(ranks.device)
    _init_process_group(ranks, timedelta(seconds=seconds))
    try:
        yield ranks
    finally:
        dist.destroy_process_group()


def _own_place(device: str) -> Ranks:
    try:
        rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        place = int(os.environ.get("LOCAL_RANK", "0"))
        whole = 0 <= rank < count and os.environ["MASTER_ADDR"] and 0 < int(os.environ["MASTER_PORT"]) < 65536
    except (KeyError, ValueError):
        whole = False
    if not whole:
        raise InputError(
            "the environment has RANK and WORLD_SIZE, but not all of LOCAL_RANK, MASTER_ADDR and MASTER_PORT "
            "as numbers and a host; start with torchrun, or unset RANK and WORLD_SIZE"
        )
    name = resolve_device("cuda" if device.startswith("cuda:") else device)
    return Ranks(rank, count, torch.device(resolve_device(f"cuda:{place}") if name == "cuda" else name))


def _init_process_group(ranks: Ranks, patience: timedelta) -> None:
    """Make the process group once every rank has said that it is here."""
    host, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
    try:
        store = _store(ranks, host, int(port), patience)
        store = rendezvous(store, ranks.rank, ranks.count, patience)
        store.set_timeout(_PATIENCE)
        dist.init_process_group(
            BACKENDS[ranks.device.type],
            store=store,
            rank=ranks.rank,
            world_size=ranks.count,
            timeout=_PATIENCE,
            device_id=ranks.device if ranks.device.type == "cuda" else None,
        )
    except RankError:
        raise
    except (RuntimeError, ValueError, OSError) as error:
        if "EADDRINUSE" in str(error) or "already in use" in str(error):
            raise RankError(
                f"port {port} of {host} is in use by another program; choose another "
                "(torchrun --master-port, or MASTER_PORT)"
            ) from None
        raise RankError(
            f"rank {ranks.rank} cannot reach {host}:{port} within {patience.total_seconds():.0f} s "
            f"({_first_line(error)}); check that rank 0 runs there and that no firewall is between"
        ) from None


def _store(ranks: Ranks, host: str, port: int, patience: timedelta) -> Store:
    """Where ranks find each other: torchrun's agent has one, else the first rank opens it."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        found, _, _ = next(env_rendezvous("env://", timeout=patience))
        return found  # type: ignore[no-any-return]  # untyped upstream
    return dist.TCPStore(  # type: ignore[attr-defined]  # exported, but not by name
        host, port, ranks.count, ranks.first, patience, wait_for_workers=False
    )


@contextmanager
def lost_rank_reported(ranks: Ranks) -> Iterator[None]:
    """What a collective call raises when another rank is gone, in one line."""
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error).lower() for sign in _SIGNS):
            raise
        raise RankError(
            f"rank {ranks.rank} of {ranks.count} lost another rank ({_first_line(error)}); "
            "the run goes on from its last state when it is started again"
        ) from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


_CALL = "call"
_POLL_SECONDS = 0.1


def rendezvous(store: Store, rank: int, count: int, patience: timedelta) -> Store:
    """A part of ``store`` that only the ranks of this round have, once all of them are here.

    torchrun's agents keep one store for all restarts and write nothing into it that tells the rounds apart
    (torch 2.13), and may count restarts differently: a rank that starts again would find the addresses of the
    dead.

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
