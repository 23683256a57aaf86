"""The benchmark for GPUs on a simulated one: what it measures, and that it goes on where it was."""

import importlib
import json
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.simulated_machine import machine
from unet_batch.devices.device import open_device

__all__ = ["machine"]


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    yield importlib.import_module("gpu")
    sys.modules.pop("gpu")


def test_pure_forward_waits_at_its_ends_alone(machine, gpu):
    device, called = open_device("cuda:0"), []
    gpu.calls(device, lambda: called.append(device.counts["synchronisations"]), 0.01)
    ends = [b - a for a, b in pairwise(called)]
    assert len(called) > 10
    assert sum(ends) < len(called) / 2


def test_what_was_measured_is_not_measured_again(machine, gpu, tmp_path, monkeypatch, capsys):
    (tmp_path / "gpu.json").write_text(json.dumps({"cases": {"training: 2-D": {"kept": True}}}))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick", "--out", str(tmp_path / "gpu.json")])
    monkeypatch.setattr(gpu, "forward", lambda *_: {"graph": "not now"})
    monkeypatch.setattr(gpu, "training", lambda dims, *_: {"dims": dims})
    monkeypatch.setattr(gpu, "stages", lambda *_: {})
    gpu.main()
    found = json.loads((tmp_path / "gpu.json").read_text())["cases"]
    assert found["training: 2-D"] == {"kept": True}
    assert found["training: 3-D"] == {"dims": 3}
    assert capsys.readouterr().out.count("training") == 1
