"""Probe: what one node sees of the shared folder, the clock and the network. Runs in the doctor's job."""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from distributed.utils import get_ip

from unet_batch.cluster.rendezvous import write_private
from unet_batch.errors import text_of

TOKEN, LOCK, MEETING = "token", "lock", "meeting"
SECONDS = 30.0


def probe(
    folder: Path, interface: str | None, port: int, torch: Callable[[int, int, str], dict[str, Any]]
) -> None:
    """Look around and leave ``node-RANK.json`` in ``folder``.

    Args:
        folder: that the nodes share with the one who asks.
        interface: that should be there.
        port: of the scheduler; 0 is any.
        torch: what torch says, given rank, count and the address at which rank 0 may listen, if any.
    """
    rank, count = int(os.environ.get("SLURM_PROCID", "0")), int(os.environ.get("SLURM_NTASKS", "1"))
    found: dict[str, Any] = {"host": socket.gethostname(), "rank": rank, "addresses": addresses()}
    found |= _folder(folder) | _driver()
    try:
        found |= _network(folder, rank, count, interface, port)
    except OSError as error:
        found["error"] = text_of(error)
    found |= torch(rank, count, found.get("meeting", ""))
    write_private(folder / f"node-{rank}.json", json.dumps(found, indent=2))


def addresses() -> dict[str, str]:
    """IPv4 address of each network interface that is up."""
    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    return {
        name: one.address
        for name, some in psutil.net_if_addrs().items()
        for one in some
        if one.family == socket.AF_INET and name in up
    }


def clock_offset(folder: Path, name: str) -> float:
    """This machine's clock minus that of the file system, in seconds; the same file system serves all."""
    path = folder / f".clock-{name}"
    path.write_text("")
    offset = time.time() - path.stat().st_mtime
    path.unlink()
    return offset


def _folder(folder: Path) -> dict[str, Any]:
    host = socket.gethostname()
    found: dict[str, Any] = {"token": (folder / TOKEN).read_text() if (folder / TOKEN).is_file() else None}
    found["clock"] = clock_offset(folder, host)
    with suppress(OSError), (folder / LOCK).open("rb") as file:  # the one who asks holds it
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            found["lock_holds"] = False
        except OSError:
            found["lock_holds"] = True
    return found


def _driver() -> dict[str, Any]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return {"driver": None, "devices": []}
    query = [program, "--query-gpu=driver_version,name", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - fixed words
    rows = [line.split(", ", 1) for line in done.stdout.splitlines() if ", " in line]
    return {"driver": rows[0][0] if rows else None, "devices": [name for _, name in rows]}


def _network(folder: Path, rank: int, count: int, interface: str | None, port: int) -> dict[str, Any]:
    """Rank 0 listens where a scheduler would; the others knock."""
    if rank:
        meeting = _wait_for(folder / MEETING)
        host, _, number = meeting.rpartition(":")
        began = time.monotonic()
        with socket.create_connection((host, int(number)), timeout=SECONDS):
            return {"meeting": meeting, "knock_seconds": time.monotonic() - began}
    known = addresses()
    if interface and interface not in known:
        raise OSError(f"no interface {interface}; there are {', '.join(known)}")
    host = known[interface] if interface else get_ip()  # as a scheduler would
    with socket.create_server((host, port)) as server:
        server.settimeout(SECONDS)
        meeting = f"{host}:{server.getsockname()[1]}"
        write_private(folder / MEETING, meeting)
        for _ in range(count - 1):
            server.accept()[0].close()
    return {"meeting": meeting}


def _wait_for(path: Path) -> str:
    limit = time.monotonic() + SECONDS
    while not path.exists():
        if time.monotonic() > limit:
            raise OSError(f"{path.name} of the first node is not seen here")
        time.sleep(0.1)
    return path.read_text()
