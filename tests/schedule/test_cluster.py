import http.client
import json
import os
import socket
import stat
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import dask
import psutil
import pytest
from dask.utils import parse_timedelta
from distributed import Client, LocalCluster, Security

from unet_batch.cluster import local
from unet_batch.cluster.config import ClusterConfig, packets_at_once
from unet_batch.cluster.local import connect, dashboard, patience
from unet_batch.cluster.rendezvous import Rendezvous
from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.worker_pool import kept, worker_pool
from unet_batch.errors import InputError, MissingError, UnfinishedError, WorkerLostError


def test_workers_inside_the_driver():
    with connect(ClusterConfig(processes=False, concurrency=3)) as client:
        assert list(client.nthreads().values()) == [3]
        assert client.submit(sum, [1, 2]).result() == 3


@pytest.mark.parametrize(
    ("concurrency", "threads", "packets"), [("auto", 1, 2), ("auto", 4, 5), ("auto", 64, 5), (3, 64, 3)]
)
def test_a_worker_runs_one_packet_more_than_it_has_threads(concurrency, threads, packets):
    assert packets_at_once(concurrency, threads) == packets


def test_a_worker_with_a_gpu_runs_up_to_twelve_packets():
    assert [packets_at_once("auto", threads, on_gpu=True) for threads in (1, 4, 64)] == [2, 5, 12]
    assert packets_at_once(3, 64, on_gpu=True) == 3


def test_a_running_cluster_is_joined_by_address_or_file(tmp_path):
    with (
        LocalCluster(n_workers=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as owner,
    ):
        path = tmp_path / "scheduler.json"
        owner.write_scheduler_file(str(path))
        for scheduler in (str(path), json.loads(path.read_text())["address"]):
            with connect(ClusterConfig(scheduler=scheduler)) as guest:
                assert guest.nthreads() == owner.nthreads()
        assert owner.nthreads(), "a guest that leaves must not take the cluster with it"


def listening(process):
    return [one.laddr.port for one in process.net_connections() if one.status == "LISTEN"]


def all_listening(driver):
    return [port for one in (driver, *driver.children(recursive=True)) for port in listening(one)]


def answers_pickles(port):
    """Whether a stranger's plain connection is answered as Dask answers one."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            plain.settimeout(2)
            return bool(plain.recv(8))  # Dask's plain protocol greets first
    except OSError:
        return False


def test_nobody_else_gets_into_a_local_cluster(tmp_path):
    driver = psutil.Process()
    before = set(all_listening(driver))  # other tests of this process may have clusters
    with connect(ClusterConfig(workers=2)) as client:
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        ports = set(all_listening(driver)) - before
        assert len(ports) == 5, "scheduler, two nannies, two workers; none for HTTP"
        assert not [port for port in ports if answers_pickles(port)]
        strangers = (Security(), Security.temporary())
        for scheme, security in zip(("tcp", "tls"), strangers, strict=True):
            with pytest.raises((OSError, TimeoutError)):
                Client(f"{scheme}://{address.partition('://')[2]}", timeout=2, security=security)
        for port in ports:
            with pytest.raises((urllib.error.URLError, http.client.HTTPException, OSError)):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/info/main/workers.html", timeout=5)


def test_the_key_of_a_local_cluster_is_its_owners_and_goes_with_it():
    with connect(ClusterConfig()) as client:
        key = Path(client.security.tls_ca_file)
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert not key.parent.exists()


def test_runs_in_a_row_share_workers_that_strangers_cannot_reach():
    config = ExecutionConfig(workers=1)
    with kept(config, 1, 1) as shared:
        assert not shared.scheduler.startswith("tcp")
        with worker_pool(shared, 1, 1) as pool:
            first = pool.ask(os.getpid)
        with worker_pool(shared, 1, 1) as pool:
            assert pool.ask(os.getpid) == first != os.getpid()


def test_a_dashboard_is_there_when_asked_for():
    config = ClusterConfig(dashboard="127.0.0.1:0")
    with connect(config) as client, urllib.request.urlopen(dashboard(client, config)) as page:
        assert page.status == 200
    with connect(ClusterConfig(processes=False)) as client:
        assert dashboard(client, ClusterConfig()) is None


def test_a_scheduler_file_that_is_not_there():
    with (
        pytest.raises(MissingError, match="no such scheduler file"),
        connect(ClusterConfig(scheduler="no.json")),
    ):
        pass


def test_nobody_at_the_address():
    config = ClusterConfig(scheduler="tcp://127.0.0.1:9", start_timeout=1)
    with pytest.raises(InputError, match="no Dask scheduler answers"), connect(config):
        pass


def test_nobody_at_the_address_of_a_scheduler_file(tmp_path):
    path = tmp_path / "scheduler.json"
    path.write_text(json.dumps({"address": "tcp://127.0.0.1:9"}))
    config = ClusterConfig(scheduler=str(path), start_timeout=1)
    with pytest.raises(InputError, match="no Dask scheduler answers"), connect(config):
        pass


def test_nobody_at_the_address_of_a_pool(tmp_path):
    Rendezvous("tcp://127.0.0.1:9", patience=9).write(tmp_path / "scheduler.json")
    config = ClusterConfig(scheduler=str(tmp_path / "scheduler.json"), start_timeout=1)
    with pytest.raises(UnfinishedError, match="the scheduler does not answer"), connect(config):
        pass


def test_a_worker_that_dies_again_while_it_restarts_is_not_given_up():
    # distributed closes its nanny where it is missing just so long after its first death.
    with connect(ClusterConfig(processes=False)):
        assert parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout")) > 86_400
    assert patience(None) < 3600, "if it never comes back, the run ends"


def kill_new_workers(ended):
    """SIGKILL to each worker process of this one before it can answer."""
    while not ended.wait(0.01):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # it may have ended, or not be waited for yet
                if any("spawn_main" in word for word in child.cmdline()):
                    child.kill()


@pytest.mark.parametrize("deaths", [1, local.STARTS])
def test_a_worker_that_dies_while_it_starts(monkeypatch, deaths):
    started, start = [], local._start

    def deadly(config, security):
        started.append(config)
        if len(started) > deaths:
            return start(config, security)
        ended = threading.Event()
        killer = threading.Thread(target=kill_new_workers, args=(ended,))
        killer.start()
        try:
            return start(config, security)
        finally:
            ended.set()
            killer.join()

    monkeypatch.setattr(local, "_start", deadly)
    if deaths < local.STARTS:
        with connect(ClusterConfig()) as client:
            assert client.submit(sum, [1, 2]).result() == 3
    else:
        with pytest.raises(WorkerLostError, match="no worker process could be started in 3 tries"):
            connect(ClusterConfig()).__enter__()
    assert len(started) == min(deaths + 1, local.STARTS)
