"""A folder with a small image, a small network and a finished mask store, to work in or to break."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.cli.program import call, listing, predict
from tests.worlds import noise, write_network

SPEC = """\
dims: 2
in_channels: 3
classes: [background, nucleus, border]
width: 2
depth: 2
"""


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """rgb.png, image.zarr, grey.zarr, spec.yaml, net.safetensors, done.zarr: made once, never changed."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "spec.yaml").write_text(SPEC)
    Pillow.fromarray(noise((150, 201, 3))).save(folder / "rgb.png")
    Pillow.fromarray(noise((40, 50))).save(folder / "grey.png")
    write_network(folder / "net.safetensors", in_channels=3, width=2, depth=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("rgb", "grey"):
            target = "image.zarr" if name == "rgb" else "grey.zarr"
            assert call("ingest", f"{name}.png", target, "--set", "workers=0", "--quiet").code == 0
        assert predict("--quiet", out="done.zarr").code == 0
    return folder


@pytest.fixture
def desk(template, tmp_path, monkeypatch):
    """A copy of the template that a test may spoil; the current folder."""
    folder = tmp_path / "desk"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def refused(desk):
    """Asserts that a call is refused in one line and leaves nothing behind; gives the line."""

    def check(run, *words, **keys):
        before = listing(desk)
        said = run(*words, **keys).refusal
        assert listing(desk) == before
        return said

    return check


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts (or resizes) a file system of so many bytes; skips where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = []

    def mount(size):
        options = f"remount,size={size}" if mounted else f"size={size}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a tmpfs needs root")
        mounted.append(folder)
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def truth():
    """Labels of the image's shape."""
    return np.random.default_rng(1).integers(0, 3, (150, 201)).astype(np.uint8)
