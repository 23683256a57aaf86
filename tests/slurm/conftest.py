"""One SLURM cluster for the tests of a process, and a small world for its jobs."""

import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.program import Answer, call, settings
from tests.slurm.machines import Machines, missing
from tests.worlds import noise, write_image, write_network

ENDS = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE")
# What decides the bytes, fixed, so that a local run and a job agree whatever a trial would find.
FIXED = ("block=64", "tile=32", "batch=1", "backend=eager", "precision=fp32", "threads=2")


@pytest.fixture(scope="session")
def machines():
    """A real cluster of two nodes; skipped where it cannot be."""
    if why := missing():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # pytest's folders have names too long for sockets
    cluster = Machines(folder / "s")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """image.zarr, net.safetensors and whole.zarr, the masks of a local run; never changed."""
    folder = tmp_path_factory.mktemp("world")
    write_image(folder / "image.zarr", noise((1, 500, 700)), "cyx")
    write_network(folder / "net.safetensors", depth=1, width=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["image.zarr", "whole.zarr", "--model", "net.safetensors", "--quiet"]
        assert call("predict", *words, *settings(*FIXED, "workers=0")).code == 0
    return folder


@dataclass
class Desk:
    """Where a person sits: a folder, the cluster, and the folder of their jobs."""

    folder: Path
    machines: Machines

    def submit(self, *words, json_answer=True) -> Answer:
        """``unet-batch submit WORDS...``."""
        extra = ["--json"] if json_answer else []
        return call("submit", *words, "--slurm", f"folder={self.folder}/jobs", *extra)

    def job(self, *words) -> int:
        """Submit, and the job's number."""
        answer = self.submit(*words)
        assert answer.code == 0, answer
        return answer.json["job"]

    def state(self, job: int) -> str:
        """SLURM's word for how a job stands."""
        shown = self.machines.run("scontrol", "show", "job", str(job))
        return shown.partition("JobState=")[2].split()[0]

    def until(self, true, seconds=600.0) -> None:
        """Wait until ``true()``; fails with all logs after so many seconds."""
        limit = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < limit, self.logs()
            time.sleep(0.1)

    def ended(self, job: int, seconds=600.0) -> str:
        """Wait for a job's end; its last state."""
        self.until(lambda: self.state(job) in ENDS, seconds)
        return self.state(job)

    def logs(self) -> str:
        """What all jobs wrote."""
        files = sorted(self.folder.glob("jobs/*/*.out"))
        return "\n".join(f"--- {file}\n{file.read_text(errors='replace')}" for file in files)

    def jobs(self) -> dict[int, dict]:
        """``unet-batch jobs`` by number."""
        answer = call("jobs", "--folder", self.folder / "jobs", "--json")
        return {work["job"]: work for work in json.loads(answer.out)}


@pytest.fixture
def desk(machines, world, tmp_path, monkeypatch):
    """A person's desk on the cluster, with the world's image and network; the current folder."""
    for key, value in machines.environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    for name in ("image.zarr", "net.safetensors"):
        (tmp_path / name).symlink_to(world / name)
    monkeypatch.chdir(tmp_path)
    yield Desk(tmp_path, machines)
    machines.run("scancel", "--user=root")
