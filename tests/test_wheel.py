"""The wheel holds what jobs need, and the package finds it there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from unet_batch.cluster.slurm.folder import NAMES

ROOT = Path(__file__).parents[1]
FIND = "from unet_batch.cluster.slurm.folder import sbatch_files; print(sbatch_files())"


def test_an_installed_package_brings_the_sbatch_files(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    words = [sys.executable, "-c", FIND]
    found = subprocess.run(
        words, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True, timeout=120
    )
    folder = Path(found.stdout.strip())
    assert folder == tmp_path / "site" / "unet_batch" / "slurm"
    assert all((folder / name).read_bytes() == (ROOT / "slurm" / name).read_bytes() for name in NAMES)
