# ruff: noqa: N802, N815 - a fake of a C library keeps its names
"""Each process takes a GPU that no other has: by UUID, in any order of the list, over kills."""

import json
import os
import subprocess
import sys

import pytest

from unet_batch.devices import claim as claiming
from unet_batch.devices.claim import SIMULATED, claim, visible

INSTALLED = ("GPU-aa11", "GPU-bb22", "GPU-cc33")
PROGRAM = """
import sys
from unet_batch.devices.claim import claim, VISIBLE
import os
print(claim(hide=True), os.environ.get(VISIBLE), "torch" in sys.modules, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, INSTALLED),
        ("", ()),
        ("-1", ()),
        ("1,0", ("GPU-bb22", "GPU-aa11")),
        ("2", ("GPU-cc33",)),
        ("0,7,1", ("GPU-aa11",)),  # CUDA stops at the first that is not there
        ("0,0", ("GPU-aa11",)),
        ("GPU-bb,GPU-aa11", ("GPU-bb22", "GPU-aa11")),
        ("GPU-zz", ()),
    ],
)
def test_the_list_is_read_as_cuda_reads_it(told, expected):
    environ = {} if told is None else {"CUDA_VISIBLE_DEVICES": told}
    assert visible(environ, INSTALLED) == expected


def test_parts_of_gpus_are_taken_by_their_names():
    installed = ("MIG-1a", "MIG-1b")
    assert visible({"CUDA_VISIBLE_DEVICES": "MIG-1b,MIG-1a"}, installed) == ("MIG-1b", "MIG-1a")
    assert visible({"CUDA_VISIBLE_DEVICES": "MIG-1b"}, ()) == ("MIG-1b",)


class Nvml:
    """Three GPUs, of which the second is parted in two."""

    nvmlInit_v2 = nvmlShutdown = staticmethod(lambda: 0)

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = 3

    def nvmlDeviceGetHandleByIndex_v2(self, number, handle):
        handle._obj.value = number + 1
        return 0

    def nvmlDeviceGetMigMode(self, handle, current, pending):
        current._obj.value = handle.value == 2
        return 0

    def nvmlDeviceGetMaxMigDeviceCount(self, handle, most):
        most._obj.value = 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle, number, part):
        part._obj.value = 10 + number
        return 0 if number < 2 else 6

    def nvmlDeviceGetUUID(self, handle, text, size):
        text.value = f"GPU-{handle.value}".encode() if handle.value < 10 else f"MIG-{handle.value}".encode()


def test_the_driver_library_tells_gpus_and_their_parts():
    assert claiming._uuids(Nvml()) == ["GPU-1", "MIG-10", "MIG-11", "GPU-3"]


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv(SIMULATED, json.dumps({"count": 3}))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    started = []

    def start(told=None):
        environ = os.environ | ({} if told is None else {"CUDA_VISIBLE_DEVICES": told})
        words = [sys.executable, "-c", PROGRAM]
        child = subprocess.Popen(words, env=environ, stdin=-1, stdout=-1, text=True)
        started.append(child)
        return child, child.stdout.readline().split()[:2]

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_workers_of_one_machine_take_one_device_each(world):
    taken = [world()[1] for _ in range(3)]
    assert taken == [["cuda:0", f"SIM-{number}"] for number in range(3)]


def test_rotated_lists_give_each_its_own(world):
    rotated = ["0,1,2", "1,2,0", "2,0,1"]
    assert {world(told)[1][1] for told in rotated} == {"SIM-0", "SIM-1", "SIM-2"}
    assert world("1,2,0")[1] == ["cuda:0", "SIM-1"]  # all taken: shared, the first of its list first


def test_a_dead_workers_device_is_free_again(world):
    (first, taken), _ = world(), world()
    first.kill()
    first.wait()
    assert world()[1] == taken


def test_a_lone_device_stays_as_it_is_named(world):
    assert world("2")[1] == ["cuda:0", "2"]


def test_a_process_keeps_its_device(world, monkeypatch):
    monkeypatch.setattr(claiming, "_held", {})
    monkeypatch.setattr(claiming.tempfile, "tempdir", None)
    environ = {SIMULATED: os.environ[SIMULATED]}
    assert claim(environ) == "cuda:0"
    assert "CUDA_VISIBLE_DEVICES" not in environ  # its workers have others
    assert claim(environ, hide=True) == claim(environ, hide=True) == "cuda:0"
    assert environ["CUDA_VISIBLE_DEVICES"] == "SIM-0"
    for descriptor in claiming._held.values():
        os.close(descriptor)
