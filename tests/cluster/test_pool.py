"""A pool of separate processes: found by its file, under TLS, left when it is lost."""

import http.client
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from unet_batch.cluster.config import ClusterConfig, PoolConfig
from unet_batch.cluster.local import connect, dashboard, patience
from unet_batch.cluster.pool import run_worker
from unet_batch.cluster.rendezvous import Rendezvous
from unet_batch.errors import ConfigError, FormatError, MissingError, UnfinishedError
from unet_batch.schedule import dask as by_dask
from unet_batch.schedule.events import Event

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
pytestmark = pytest.mark.timeout(900)

LONG = 120  # seconds that anything may take on a crowded machine
FAST = ("--set", "preload=[]", "--set", "concurrency=1")


@contextmanager
def process(*words):
    """``unet-batch pool WORDS...`` for the length of the block."""
    command = [sys.executable, "-m", "unet_batch", "pool", *map(str, words)]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as one:
        try:
            yield one
        finally:
            one.send_signal(signal.SIGTERM)
            one.communicate(timeout=LONG)


def until(true, of):
    """Wait for ``true()``; fails at once, with what it said, where the process ``of`` ends before."""
    limit = time.monotonic() + LONG
    while not true():
        assert of.poll() is None, of.communicate(timeout=LONG)
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.fixture
def pool(tmp_path):
    """Its scheduler file, its scheduler and one worker."""
    path = tmp_path / "scheduler-1.json"
    with (
        process("scheduler", path, "--set", "patience=2") as scheduler,
        process("worker", tmp_path, *FAST) as worker,
    ):
        until(path.exists, of=scheduler)
        yield path, scheduler, worker


def there(path):
    return ClusterConfig(scheduler=str(path), start_timeout=LONG)


def slow(number):
    time.sleep(0.1)
    return Event(number, "done")


def test_a_pool_is_found_by_its_file_works_and_ends_when_asked(pool):
    path, scheduler, worker = pool
    with connect(there(path)) as client:
        events = list(by_dask.run(client, slow, range(5)))
        assert sorted(event.number for event in events) == [0, 1, 2, 3, 4]
        assert dashboard(client, there(path)) is None
    check_it_is_closed_to_strangers(path, scheduler)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(LONG) == 0
    scheduler.send_signal(signal.SIGTERM)
    assert scheduler.wait(LONG) == 0
    assert list(path.parent.iterdir()) == [], "neither address nor key stays behind"


def speaks(plain, context):
    """Whether the other side says anything; TLS 1.3 refuses a missing certificate only when it is read."""
    try:
        with context.wrap_socket(plain) as stranger:
            return bool(stranger.recv(1))
    except OSError:
        return False


def check_it_is_closed_to_strangers(path, scheduler):
    address, key = json.loads(path.read_text())["address"], path.with_suffix(".pem")
    assert address.startswith("tls://")
    assert {stat.S_IMODE(file.stat().st_mode) for file in (path, key)} == {0o600}
    host, _, port = address.removeprefix("tls://").rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((host, int(port))) as plain:
        assert not speaks(plain, context), "a stranger without the pool's certificate"
    check_there_is_no_page(psutil.Process(scheduler.pid), int(port))


def check_there_is_no_page(process, port):
    """Dask listens for HTTP; on loopback alone, and it shows nothing."""
    listening = [c.laddr for c in process.net_connections() if c.status == "LISTEN" and c.laddr.port != port]
    assert {one.ip for one in listening} == {"127.0.0.1"}
    for one in listening:
        for page in ("", "status", "info/main/workers.html", "info/logs.html", "json/counts.json", "health"):
            with pytest.raises((urllib.error.URLError, http.client.HTTPException, OSError)):
                urllib.request.urlopen(f"http://127.0.0.1:{one.port}/{page}", timeout=5)


def test_a_lost_worker_leaves_a_driver_that_waits_and_then_ends_unfinished(pool):
    path, _, worker = pool
    waits = patience(str(path))
    with connect(there(path)) as client:
        client.wait_for_workers(1, timeout=LONG)
        events = by_dask.run(client, slow, range(1000), packing=by_dask.Packing(seconds=0.2, patience=waits))
        assert next(events).status == "done"
        worker.send_signal(signal.SIGTERM)
        with pytest.raises(UnfinishedError, match="no worker for 2 s"):
            assert {event.status for event in events} == {"done"}
        with pytest.raises(UnfinishedError, match="no worker"):
            by_dask.ask(client, lambda: 1, patience=waits)
        with pytest.raises(UnfinishedError, match="stopped before the first block"):
            by_dask.ask(client, lambda: 1, stop=lambda: True)
        assert list(by_dask.run(client, slow, range(3), stop=lambda: True)) == []


def test_a_lost_scheduler_fails_no_block(pool):
    path, scheduler, _ = pool
    with connect(there(path)) as client:
        events = by_dask.run(client, slow, range(1000), packing=by_dask.Packing(seconds=0.2))
        assert next(events).status == "done"
        os.kill(scheduler.pid, signal.SIGKILL)
        with pytest.raises(UnfinishedError, match="the scheduler is gone"):
            assert {event.status for event in events} == {"done"}


def test_a_scheduler_that_ends_while_a_worker_starts_leaves_no_worker_behind(tmp_path, monkeypatch):
    (tmp_path / "slow_start.py").write_text("import time; time.sleep(5)")
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", f"{ENVIRONMENT['PYTHONPATH']}:{tmp_path}")
    path = tmp_path / "pool" / "scheduler-1.json"
    path.parent.mkdir()
    with process("scheduler", path) as scheduler:
        until(path.exists, of=scheduler)
        with process("worker", path.parent, "--set", "preload=[slow_start]") as worker:
            starts = psutil.Process(worker.pid).children
            until(lambda: any("spawn_main" in " ".join(c.cmdline()) for c in starts()), of=worker)
            scheduler.send_signal(signal.SIGTERM)
            assert worker.wait(LONG) == 0


def test_a_worker_without_a_scheduler_gives_up(tmp_path):
    (tmp_path / "scheduler-1.json").write_text(json.dumps({"address": "tcp://127.0.0.1:9"}))
    config = PoolConfig(preload=())
    with pytest.raises(UnfinishedError, match="no scheduler for 0 s"):
        run_worker(lambda: None, config, 2, wait=0)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"address": 1, "unet_batch": {"patience": "x"}}'])
def test_what_is_no_scheduler_file_is_one_line(tmp_path, text):
    path = tmp_path / "scheduler.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"\A.*not a scheduler file.*\Z"):
        Rendezvous.read(path)
    with pytest.raises(MissingError, match="no such scheduler file"):
        Rendezvous.read(tmp_path / "none.json")


def test_a_dashboard_for_all_is_told_by_the_name_of_its_machine(tmp_path):
    path = tmp_path / "scheduler-1.json"
    with process("scheduler", path, "--set", "dashboard=0.0.0.0:0") as scheduler:
        until(path.exists, of=scheduler)
        assert dashboard(None, there(path)).startswith(f"http://{socket.gethostname()}:")


def test_a_dashboard_on_loopback_comes_with_its_tunnel(tmp_path):
    path = tmp_path / "scheduler-1.json"
    with process("scheduler", path, "--set", "dashboard=127.0.0.1:0") as scheduler:
        until(path.exists, of=scheduler)
        address, tunnel = dashboard(None, there(path)).split("; from elsewhere: ")
        with urllib.request.urlopen(address.split()[0]) as page:
            assert page.status == 200
        assert tunnel.startswith("ssh -L")


def test_an_interface_that_is_not_there_is_one_line(tmp_path):
    with process("scheduler", tmp_path / "s.json", "--set", "interface=nope9") as scheduler:
        _, said = scheduler.communicate(timeout=LONG)
    assert scheduler.returncode == 2
    assert said.startswith("error: no scheduler can listen at interface nope9")
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_tls_without_its_library_is_one_line(tmp_path, monkeypatch):
    from unet_batch.cluster import rendezvous

    def absent():
        raise ImportError

    monkeypatch.setattr(rendezvous.Security, "temporary", absent)
    with pytest.raises(ConfigError, match="needs the package cryptography"):
        rendezvous.new_key(tmp_path / "key.pem")
