"""A machine of simulated GPUs for the length of a test."""

import json

import pytest

from unet_batch.devices import claim as claiming
from unet_batch.devices import simulated
from unet_batch.devices.claim import SIMULATED
from unet_batch.prediction import block, networks


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of two GPUs, or of others by ``machine(count=1, bytes=...)``."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(claiming.tempfile, "tempdir", None)
    monkeypatch.setattr(claiming, "_held", {})

    def machine(**settings):
        log = tmp_path / "contexts.log"
        log.unlink(missing_ok=True)
        start_anew()
        monkeypatch.setenv(SIMULATED, json.dumps({"count": 2, "log": str(log), **settings}))
        return log

    machine()
    yield machine
    start_anew()


def start_anew():
    """As in a new process: no context, and no network that lies on a device of before."""
    networks._ready.clear()
    block._tools_of.kept.clear()
    simulated.forget()
