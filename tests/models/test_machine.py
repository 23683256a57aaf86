"""What a machine tells of itself: its CPU's flags, the memory that a process may have."""

import psutil
import pytest

from unet_batch.models.machine import cpu_has_bf16, free_memory

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "able"),
    [
        ("flags\t: fpu avx512_bf16 sse\n", True),
        ("flags : amx_bf16\n", True),
        ("flags : avx2\n", False),
        ("", False),
    ],
)
def test_bf16_of_a_cpu(tmp_path, text, able):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert cpu_has_bf16(path) is able
    assert not cpu_has_bf16(tmp_path / "none")


@pytest.fixture
def plenty(monkeypatch):
    free = type("free", (), {"available": 64 * GIB})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)


@pytest.mark.parametrize(
    ("environ", "gibibytes"),
    [
        ({}, 64),
        ({"SLURM_MEM_PER_NODE": "16384"}, 16),
        ({"SLURM_MEM_PER_NODE": "131072"}, 64),  # more than there is
        ({"SLURM_MEM_PER_NODE": "0"}, 64),  # all of it
        ({"SLURM_MEM_PER_NODE": "16384", "SLURM_STEP_TASKS_PER_NODE": "4"}, 4),
        ({"SLURM_MEM_PER_NODE": "16384", "SLURM_STEP_TASKS_PER_NODE": "2(x3),1"}, 8),
        ({"SLURM_MEM_PER_CPU": "2048", "SLURM_CPUS_ON_NODE": "8"}, 16),
        ({"SLURM_MEM_PER_CPU": "2048"}, 64),
    ],
)
def test_memory_of_a_slurm_job(plenty, tmp_path, environ, gibibytes):
    assert free_memory(environ, tmp_path) == gibibytes * GIB


@pytest.mark.parametrize(
    ("membership", "limits", "gibibytes"),
    [
        ("0::/job/step\n", {"job/memory.max": 8 * GIB, "job/step/memory.max": "max"}, 8),
        ("0::/job/step\n", {"job/memory.max": 8 * GIB, "job/step/memory.max": 2 * GIB}, 2),
        ("0::/\n", {"memory.max": 4 * GIB}, 4),
        ("0::/\n", {}, 64),
        ("4:memory:/job\n0::/\n", {"memory/job/memory.limit_in_bytes": 3 * GIB}, 3),
        ("5:cpu,memory:/\n", {"memory/memory.limit_in_bytes": 9223372036854771712}, 64),
    ],
)
def test_memory_of_a_control_group(plenty, tmp_path, membership, limits, gibibytes):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(membership)
    for name, limit in limits.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{limit}\n")
    assert free_memory({}, tmp_path) == gibibytes * GIB
