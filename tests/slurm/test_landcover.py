"""The land cover workflow as five jobs on a real SLURM, sent by the workflow itself."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(1800)  # a crowded machine; each wait has its own limit


def test_a_country_from_scenes_to_files(desk):
    script = Path(__file__).parents[2] / "workflows" / "landcover.py"
    Path("cluster.yaml").write_text(f"folder: {desk.folder}/jobs\ntime: '30'\n")
    quick = ["run.steps=10", "run.checkpoint_every=10", "validation.every=10", "sampling.patch=64"]
    words = ["--cluster", "cluster.yaml", "--out", "out/a b", *(w for key in quick for w in ("--set", key))]
    sent = subprocess.run(
        [sys.executable, script, *words], capture_output=True, text=True, check=False, timeout=300
    )
    assert sent.returncode == 0, sent.stderr
    jobs = sorted(desk.jobs())
    assert len(jobs) == 5
    assert [desk.ended(job) for job in jobs] == ["COMPLETED"] * 5, desk.logs()
    assert {"landcover.tif", "landcover.geojson", "story.png"} <= {p.name for p in Path("out/a b").iterdir()}
    assert "eastern half" in desk.logs()
