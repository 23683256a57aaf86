"""A Dask client: of a cluster that lives as long as this run, or of one that is there already."""

import atexit
import importlib.util
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from multiprocessing import spawn
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
from distributed import Client, LocalCluster, Security, Worker, WorkerPlugin
from distributed.utils import silence_logging_cmgr

from unet_batch.cluster.config import ClusterConfig
from unet_batch.cluster.rendezvous import Rendezvous, new_key, write_private
from unet_batch.errors import InputError, UnfinishedError, WorkerLostError

# Dask starts its workers with one OpenMP thread each and a malloc that gives every large buffer back at once,
# which suits many small tasks and not one network per worker: `connect` replaces that environment too.
SETTINGS = {
    # A block that kills its worker is found by this package's own ladder of tries, not by killing four.
    "distributed.scheduler.allowed-failures": 0,
    # Blocks are bounded by the plan; pausing or killing a worker for the memory that it maps helps nobody.
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    # So long after a worker was lost, its nanny is closed for good if just then it has none: one that is lost
    # again and is being restarted at that moment would never come back (distributed 2026.8, deploy/spec.py).
    "distributed.deploy.lost-worker-timeout": "365 days",
    # Dask watches itself: its loops fifty times a second, every thread's stack a hundred times. On two cores
    # that took two hundredths of them from the network (measured: 43 ms a second, 11 with this).
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.worker.profile.enabled": False,
}

STARTS = 3
# Dask's processes begin to listen for HTTP, and show logs and stacks to whoever asks: without pages there is
# nothing to show until they are told to stop that.
NO_PAGES: dict[str, list[str]] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
NO_DASHBOARD = "127.0.0.1:0"

PATIENCE = 300.0  # seconds; workers of one's own that do not come back by then never will


@contextmanager
def connect(config: ClusterConfig) -> Iterator[Client]:
    """A client; workers that were started for it end with it.

    Workers started here speak TLS by a key that is made for them: on a machine with other users plain Dask on
    loopback lets each of them run code as the one who started it.

    Raises:
        InputError: nobody answers at the address.
        UnfinishedError: the scheduler of a pool does not answer any more.
        MissingError, FormatError: the scheduler file does not exist, or is none.
        WorkerLostError: no worker process can be started here.
    """
    if config.scheduler is None:
        environment = {"OMP_NUM_THREADS": str(config.threads)} if config.threads else {}
        if config.workers > 1:  # where a plan has more threads than a worker's share of the cores, none spins
            environment["OMP_WAIT_POLICY"] = "PASSIVE"
        settings = {**SETTINGS, "distributed.nanny.pre-spawn-environ": environment}
        with (
            dask.config.set(settings | pages(config.dashboard)),
            _without_main(),
            _key(config) as security,
            _local(config, security) as cluster,
            Client(cluster) as client,
        ):
            if config.processes:
                # Where a worker dies at this very moment: the one that follows it is told by the scheduler.
                with suppress(OSError):
                    client.register_plugin(_OwnWorker(config.dashboard is not None))
            yield client
    else:
        # Its loss is told once, by what runs the blocks; Dask would add a traceback.
        with (
            silence_logging_cmgr(logging.CRITICAL),
            _existing(config.scheduler, config.start_timeout) as client,
        ):
            yield client


def pages(dashboard: str | None) -> dict[str, Any]:
    """Dask's settings for what its processes show by HTTP."""
    return {} if dashboard else NO_PAGES


def rendezvous_of(client: Client, folder: Path) -> Path:
    """A scheduler file in the private ``folder`` by which others of this process's join its own workers.

    Raises:
        OutputError: it cannot be written.
    """
    path, security = folder / "scheduler.json", client.security
    key = Path(security.tls_ca_file) if security.require_encryption else None
    if key is not None:
        write_private(folder / key.name, key.read_text(encoding="utf-8"))
    Rendezvous(client.scheduler.address, key, PATIENCE).write(path)
    return path


def dashboard(client: Client, config: ClusterConfig) -> str | None:
    """Address of Dask's dashboard; without bokeh to draw it, of its plain table of workers.

    None where it is not known, or was not asked for.
    """
    scheduler = config.scheduler
    if scheduler is None and config.dashboard is None:
        return None
    if (where := _rendezvous(scheduler)) and (where.dashboard or where.patience < inf):
        return where.dashboard or None
    link = str(client.dashboard_link)
    return (
        link if importlib.util.find_spec("bokeh") else link.removesuffix("status") + "info/main/workers.html"
    )


def patience(scheduler: str | None) -> float:
    """Seconds that a driver should wait while there is no worker at all, as the scheduler's file says."""
    if scheduler is None:
        return PATIENCE
    where = _rendezvous(scheduler)
    return where.patience if where else inf


class _OwnWorker(WorkerPlugin):  # type: ignore[misc]  # distributed is half typed
    """What a worker of this driver alone does otherwise than Dask's.

    Ctrl-C and the end of a terminal reach every process of it: workers go on, so that the driver can end
    their blocks. And they end without tearing down their networks, which takes up to a second: all that they
    made is on disk. Without ``pages`` they stop listening for HTTP, too.
    """

    def __init__(self, pages: bool) -> None:
        self.pages = pages

    def setup(self, worker: Worker) -> None:
        """Runs in the main thread of a worker's process, also after its nanny restarted it."""
        if not self.pages:
            worker.http_server.stop()
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        atexit.register(os._exit, 0)


@contextmanager
def _key(config: ClusterConfig) -> Iterator[Security]:
    """A key for the length of a cluster, in a folder that is open to its owner alone."""
    if not config.processes:  # nothing listens: messages stay in this process
        yield Security()
        return
    with TemporaryDirectory(prefix="unet-batch-") as folder:
        yield new_key(Path(folder) / "key.pem")


def _local(config: ClusterConfig, security: Security) -> LocalCluster:
    """A worker that dies while it starts takes the cluster with it: another is started, a few times."""
    said = ""
    for _ in range(STARTS):
        try:
            return _start(config, security)
        except RuntimeError as error:  # all that distributed makes of it
            said = str(error)
    raise WorkerLostError(
        f"no worker process could be started in {STARTS} tries ({said}); look for what ends it: a limit "
        "on memory or processes; or set workers=0"
    )


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes that Dask starts meanwhile do not import this process's script.

    What workers do is in this package; a script without ``if __name__ == "__main__":`` would run in each.
    """
    given = spawn.get_preparation_data

    def prepared(name: str) -> dict[str, Any]:
        data: dict[str, Any] = given(name)
        if name.startswith("Dask Worker"):
            for key in ("init_main_from_path", "init_main_from_name"):
                data.pop(key, None)
        return data

    spawn.get_preparation_data = prepared
    try:
        yield
    finally:
        spawn.get_preparation_data = given


def _start(config: ClusterConfig, security: Security) -> LocalCluster:
    cluster = LocalCluster(
        n_workers=config.workers,
        threads_per_worker=config.concurrency,
        processes=config.processes,
        memory_limit=0,
        dashboard_address=config.dashboard,
        worker_dashboard_address=None,
        scheduler_kwargs={"dashboard_address": config.dashboard or NO_DASHBOARD},
        security=security,
        host="127.0.0.1" if config.processes else None,
        # A worker that is ended between two heartbeats reports a traceback; what befell blocks are events.
        silence_logs=logging.CRITICAL,
    )
    if config.dashboard is None:
        cluster.loop.add_callback(cluster.scheduler.http_server.stop)
    return cluster


def _rendezvous(scheduler: str | None) -> Rendezvous | None:
    return None if scheduler is None or "://" in scheduler else Rendezvous.read(Path(scheduler))


def _existing(scheduler: str, timeout: float) -> Client:
    where = _rendezvous(scheduler) or Rendezvous(scheduler)
    try:
        return Client(where.address, timeout=timeout, security=where.security)
    except (OSError, ValueError) as error:
        if where.patience < inf:  # of a pool, which comes and goes
            raise UnfinishedError(f"{scheduler}: the scheduler does not answer; run again") from None
        raise InputError(
            f"{scheduler}: no Dask scheduler answers ({error}); check the address and that it is running, "
            "or give it more `scheduler_seconds`"
        ) from None
