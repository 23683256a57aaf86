"""Whether torch's processes on several machines add up a number: the least that training there needs."""

import os
from datetime import timedelta
from typing import Literal

import torch
from torch import distributed


def add_up(
    backend: Literal["gloo", "nccl"],
    rank: int,
    count: int,
    address: str,
    interface: str | None,
    seconds: float,
) -> float:
    """The sum of 1 to ``count`` over the ranks, each giving its own.

    Args:
        backend: ``nccl`` uses this process's first GPU.
        rank: of this process.
        count: how many there are.
        address: ``host:port`` at which rank 0 can listen.
        interface: network interface to use; None leaves it to the library.
        seconds: after which it gives up.

    Raises:
        RuntimeError: they do not reach each other.
    """
    if interface:
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = interface
    distributed.init_process_group(
        backend,
        init_method=f"tcp://{address}",
        rank=rank,
        world_size=count,
        timeout=timedelta(seconds=seconds),
    )
    try:
        value = torch.tensor([rank + 1.0], device="cuda:0" if backend == "nccl" else "cpu")
        distributed.all_reduce(value)
        return float(value.item())
    finally:
        distributed.destroy_process_group()


def about_torch() -> dict[str, object]:
    """Its version, what it was built for, and the GPUs that it can use."""
    usable = torch.cuda.is_available()
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if usable else []
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "gpus": names}
