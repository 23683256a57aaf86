"""A pool: one scheduler and any number of workers that may be on other machines and come and go.

Drivers join it by its scheduler file (`cluster/rendezvous.py`). Who starts the processes is not its matter.
"""

import asyncio
import importlib.util
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
from distributed import Nanny, Scheduler, Security, Worker, WorkerPlugin
from distributed.utils import silence_logging_cmgr

from unet_batch.cluster.config import PoolConfig, packets_at_once
from unet_batch.cluster.local import NO_DASHBOARD, SETTINGS, pages
from unet_batch.cluster.rendezvous import Rendezvous, new_key
from unet_batch.devices.claim import visible
from unet_batch.errors import ConfigError, FormatError, MissingError, UnfinishedError, text_of

LEAVE_SECONDS = 3.0  # a pre-empted worker has some seconds of grace, and needs most of them to end
LOOK_SECONDS = 0.2
START_SECONDS = 120  # for a worker to import what it needs; a shared file system may be slow at it
END_SECONDS = 10.0  # for a worker to end by itself once its scheduler has


def run_scheduler(path: Path, config: PoolConfig, tell: Callable[[str], None]) -> None:
    """Serve at ``path`` until SIGTERM or SIGINT; the workers leave when it ends.

    Raises:
        ConfigError: an interface or port that cannot be had.
        OutputError: the scheduler file cannot be written.
    """
    with dask.config.set(SETTINGS | pages(config.dashboard)), silence_logging_cmgr(logging.WARNING):
        asyncio.run(_serve(path, config, tell))


def run_worker(find: Callable[[], Path | None], config: PoolConfig, threads: int, wait: float) -> str:
    """Work for the scheduler whose file ``find`` names, until it ends or SIGTERM comes; which of both.

    On SIGTERM the scheduler is told, which gives what was under way to others, and the worker leaves at once.

    Args:
        find: the scheduler file; None where there is none yet.
        config: of the pool.
        threads: of the worker's own libraries.
        wait: seconds that the scheduler may let itself be waited for.

    Raises:
        UnfinishedError: no scheduler came.
    """
    environment = {"OMP_NUM_THREADS": str(threads)}
    settings = {**SETTINGS, **pages(config.dashboard), "distributed.nanny.pre-spawn-environ": environment}
    with dask.config.set(settings), silence_logging_cmgr(logging.WARNING):
        return asyncio.run(_work(find, config, threads, wait))


def newest(folder: Path) -> Path | None:
    """The scheduler file in ``folder`` that was written last."""
    found = [(file.stat().st_mtime_ns, file) for file in folder.glob("scheduler-*.json")]
    return max(found)[1] if found else None


class _LeaveSignalsToTheNanny(WorkerPlugin):  # type: ignore[misc]  # distributed is half typed
    """SLURM signals every process of a step; the nanny alone knows how to leave."""

    def setup(self, worker: Worker) -> None:
        """Runs in the main thread of a worker's process, also after its nanny restarted it."""
        del worker
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


async def _serve(path: Path, config: PoolConfig, tell: Callable[[str], None]) -> None:
    stop = _on_signals()
    key = path.with_suffix(".pem") if config.tls else None
    try:
        scheduler = await _listen(config, new_key(key) if key else Security())
        try:
            Rendezvous(scheduler.address, key, config.patience, _dashboard(scheduler, config)).write(path)
            tell(f"scheduler {scheduler.address} on {socket.gethostname()}; {path}")
            await stop.wait()
        finally:
            path.unlink(missing_ok=True)
            with silence_logging_cmgr(logging.CRITICAL):  # connections that close are nothing to report
                await _dismiss(scheduler)
                await scheduler.close()
    finally:
        if key:
            key.unlink(missing_ok=True)


async def _listen(config: PoolConfig, security: Security) -> Scheduler:
    try:
        return await Scheduler(
            interface=config.interface,
            port=config.port,
            protocol="tls" if config.tls else "tcp",
            security=security,
            dashboard=config.dashboard is not None,
            dashboard_address=config.dashboard or NO_DASHBOARD,
        )
    except (OSError, ValueError) as error:
        where = f"interface {config.interface or 'of the default route'}, port {config.port or 'any'}"
        raise ConfigError(f"no scheduler can listen at {where} ({text_of(error)}); set others") from None


async def _dismiss(scheduler: Scheduler) -> None:
    """Tell the workers: they end at once, where one that finds its scheduler gone takes its time."""
    with suppress(OSError, asyncio.TimeoutError):
        ends = scheduler.broadcast(msg={"op": "terminate"}, nanny=True, on_error="ignore")
        await asyncio.wait_for(ends, LEAVE_SECONDS)


async def _work(find: Callable[[], Path | None], config: PoolConfig, threads: int, wait: float) -> str:
    stop = _on_signals()
    waiting, limit = asyncio.create_task(stop.wait()), time.monotonic() + wait
    while not stop.is_set():
        path = find()
        if path is not None and await _work_for(path, config, threads, waiting):
            return "asked to leave" if stop.is_set() else "the scheduler ended"
        if time.monotonic() > limit:
            raise UnfinishedError(f"no scheduler for {wait:.0f} s; start it, then the workers again")
        await asyncio.wait([waiting], timeout=LOOK_SECONDS)
    return "asked to leave"


async def _work_for(path: Path, config: PoolConfig, threads: int, waiting: asyncio.Task[Any]) -> bool:
    """Work until the scheduler of ``path`` or ``waiting`` ends; False where none answers there.

    A nanny may wait for ever where its scheduler ends while it starts (seen with distributed 2026.8). Its
    file, which a scheduler takes away with it, says that it has ended.
    """
    gone = asyncio.create_task(_gone(path))
    joining = asyncio.create_task(_join(path, config, threads))
    await asyncio.wait([joining, gone, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not joining.done():
        await asyncio.wait([joining], timeout=0 if waiting.done() else LEAVE_SECONDS)
    nanny = joining.result() if joining.done() else None
    if nanny is None:
        return gone.done() or waiting.done()
    ended = asyncio.create_task(nanny.finished())
    await asyncio.wait([ended, gone, waiting], return_when=asyncio.FIRST_COMPLETED)
    if waiting.done():
        await _leave(nanny)
    elif not ended.done():
        await asyncio.wait([ended, waiting], timeout=END_SECONDS)
    return True


async def _gone(path: Path) -> None:
    while path.exists():
        await asyncio.sleep(LOOK_SECONDS)


async def _join(path: Path, config: PoolConfig, threads: int) -> Nanny | None:
    """A worker process under its nanny; None where no scheduler answers."""
    try:
        where = Rendezvous.read(path)
        return await Nanny(
            where.address,
            nthreads=packets_at_once(config.concurrency, threads, on_gpu=bool(visible())),
            name=_name(),
            interface=config.interface,
            security=where.security,
            memory_limit=0,
            dashboard_address=NO_DASHBOARD,
            death_timeout=START_SECONDS,
            silence_logs=logging.WARNING,
            preload=list(config.preload),
            plugins=(_LeaveSignalsToTheNanny(),),
        )
    except (MissingError, FormatError, OSError, RuntimeError):  # ended, or not there yet
        return None


async def _leave(nanny: Nanny) -> None:
    """Give what is under way back to the scheduler, and end."""
    with suppress(OSError, asyncio.TimeoutError):
        retired = nanny.scheduler.retire_workers(workers=[nanny.worker_address], close_workers=False)
        await asyncio.wait_for(retired, LEAVE_SECONDS)
    await nanny.close(timeout=1)


def _dashboard(scheduler: Scheduler, config: PoolConfig) -> str:
    """How to look at the dashboard; empty where there is none."""
    if config.dashboard is None:
        return ""
    host, port = config.dashboard.rpartition(":")[0], scheduler.services["dashboard"].port
    page = "status" if importlib.util.find_spec("bokeh") else "info/main/workers.html"
    if host in ("127.0.0.1", "localhost"):
        tunnel = f"; from elsewhere: ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}"
        return f"http://127.0.0.1:{port}/{page} on {socket.gethostname()}{tunnel}"
    anywhere = host in ("", "0.0.0.0", "[::]")  # noqa: S104 - recognised, not listened at
    return f"http://{socket.gethostname() if anywhere else host}:{port}/{page}"


def _name() -> str:
    """Unique in a pool; says the job, and ends with the position among the workers of this machine."""
    environment: dict[str, Any] = dict(os.environ)
    job = environment.get("SLURM_JOB_ID", f"{socket.gethostname()}.{os.getpid()}")
    restart = environment.get("SLURM_RESTART_COUNT", "0")
    task, local = environment.get("SLURM_PROCID", "0"), environment.get("SLURM_LOCALID", "0")
    return f"{job}.{restart}-{task}-{local}"


def _on_signals() -> asyncio.Event:
    """Set once SIGTERM or SIGINT has come."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
