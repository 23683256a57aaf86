import json
import threading
import urllib.request
from contextlib import suppress

import dask
import psutil
import pytest
from dask.utils import parse_timedelta

from unet_batch.cluster import local
from unet_batch.cluster.config import ClusterConfig, packets_at_once
from unet_batch.cluster.local import connect, dashboard, patience
from unet_batch.cluster.rendezvous import Rendezvous
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


def test_a_running_cluster_is_joined_by_address_or_file(tmp_path):
    with connect(ClusterConfig()) as owner:
        path = tmp_path / "scheduler.json"
        owner.write_scheduler_file(str(path))
        for scheduler in (str(path), json.loads(path.read_text())["address"]):
            with connect(ClusterConfig(scheduler=scheduler)) as guest:
                assert guest.nthreads() == owner.nthreads()
        with urllib.request.urlopen(dashboard(owner)) as page:
            assert page.status == 200
        assert owner.nthreads(), "a guest that leaves must not take the cluster with it"


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

    def deadly(config):
        started.append(config)
        if len(started) > deaths:
            return start(config)
        ended = threading.Event()
        killer = threading.Thread(target=kill_new_workers, args=(ended,))
        killer.start()
        try:
            return start(config)
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
