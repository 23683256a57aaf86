import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.formats.foreign_files import RGB, pixels
from unet_batch.errors import FormatError, InputError, MissingError
from unet_batch.formats import probe as module
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.probe import probe

PLAIN = ReadConfig()


@pytest.fixture
def image(tmp_path):
    np.save(tmp_path / "a.npy", RGB)
    return tmp_path / "a.npy"


def stand_in(tmp_path, monkeypatch, script):
    """Puts a shell script in place of the child."""
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))


def test_a_sound_file_passes_and_settings_reach_the_child(image):
    probe(image, ReadConfig(axes="yxc"))
    with pytest.raises(InputError, match="name them"):
        probe(image, PLAIN)


def test_errors_of_the_child_come_back_as_they_are(tmp_path):
    with pytest.raises(MissingError, match="no such file"):
        probe(tmp_path / "none.tif", PLAIN)


def test_a_crash_of_the_decoder_is_the_files_fault(image, tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "kill -SEGV $$")
    with pytest.raises(FormatError, match=f"crashed.*{-signal.SIGSEGV}"):
        probe(image, PLAIN)


def test_a_hang_of_the_decoder_is_cut_off(image, tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "exec sleep 60")
    with pytest.raises(FormatError, match=r"takes over 0\.2 s"):
        probe(image, PLAIN, timeout_s=0.2)


def test_memory_is_limited(image, tmp_path):
    """The child's own limit, seen from inside it."""
    greedy = (
        "import sys; from pathlib import Path; from unet_batch.formats import probe\n"
        "def read_once(path, config):\n"
        "    with probe.foreign(path): bytearray(2 * probe.MEMORY_LIMIT)\n"
        "probe.read_once = read_once\n"
        "probe.main(Path(sys.argv[1]), probe.ReadConfig())"
    )
    child = subprocess.run([sys.executable, "-c", greedy, str(image)], capture_output=True, check=True)
    assert "more memory" in json.loads(child.stdout)["message"]


def test_of_a_large_image_the_corners_are_read(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "SMALL", 10)
    np.save(tmp_path / "a.npy", pixels((5, 7)))
    reader = module.open_reader(tmp_path / "a.npy", PLAIN)
    monkeypatch.setattr(reader, "read", seen.append)
    monkeypatch.setattr(module, "open_reader", lambda path, config: reader)
    module.read_once(tmp_path / "a.npy", PLAIN)
    assert [(box.start, box.stop) for box in seen] == [((0, 0), (1, 1)), ((4, 6), (5, 7))]
