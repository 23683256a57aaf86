"""Ranks of one training as processes of this machine, with gloo."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import yaml

QUIET = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "127.0.0.1"}


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def write_settings(path: Path, values: dict) -> Path:
    """Settings as a YAML file."""
    path.write_text(yaml.safe_dump(values))
    return path


def start(words, **env) -> subprocess.Popen:
    """``python WORDS...`` in a group of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TORCHELASTIC")}
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean | QUIET | {key: str(value) for key, value in env.items()},
        text=True,
        start_new_session=True,
    )


def rank(settings: Path, number: int, count: int, port: int, **env) -> subprocess.Popen:
    """One rank, as torchrun would start it."""
    words = ["-m", "unet_batch", "train", "--config", settings, "--json-lines"]
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "MASTER_PORT": port}
    return start(words, **place, **env)


@contextmanager
def ended(*processes):
    """Processes that do not outlive the block."""
    try:
        yield
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def run_ranks(settings: Path, count: int) -> None:
    """A training on ``count`` ranks, to its end."""
    port = free_port()
    ranks = [rank(settings, number, count, port) for number in range(count)]
    with ended(*ranks):
        for process in ranks:
            _, err = process.communicate(timeout=200)
            assert process.returncode == 0, err
