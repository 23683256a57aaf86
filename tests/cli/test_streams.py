"""Standard output and error: readers that leave, full devices, and names that would rule a terminal."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.program import SERIAL, settings
from unet_batch.cli.exit_codes import ExitCode
from unet_batch.cli.streams import clean

PROGRAM = [sys.executable, "-m", "unet_batch"]
PREDICT = ["predict", "image.zarr", "new.zarr", "--model", "net.safetensors", *settings(*SERIAL)]
ROOT = Path(__file__).parents[2]


def run(*words, **keys):
    return subprocess.run([*PROGRAM, *words], capture_output=True, check=False, text=True, **keys)


@pytest.mark.parametrize("left", ["stdout", "stderr"])
def test_a_reader_that_leaves_does_not_end_a_run(desk, left):
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, left: writing}
    words = [*PREDICT, "--json-lines"] if left == "stdout" else PREDICT
    ended = subprocess.run([*PROGRAM, *words], check=False, text=True, **streams)
    os.close(writing)
    assert (ended.returncode, ended.stderr or "") == (0, "")
    assert json.loads(run("status", "new.zarr", "--json").stdout)["state"] == "done"


def test_a_full_device_is_one_line_and_the_work_is_done(desk):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        words = [*PROGRAM, *PREDICT, "--json-lines"]
        ended = subprocess.run(words, check=False, text=True, stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == ExitCode.REFUSED
    assert ended.stderr == "error: standard output: the disk or quota is full; free space and start again\n"
    assert json.loads(run("status", "new.zarr", "--json").stdout)["state"] == "done"


def test_a_closed_standard_output_is_no_error(desk):
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *PROGRAM, "status", "done.zarr"], capture_output=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_terminal_that_ends_stops_a_run_as_sigterm_does(desk):
    small = [*(word.replace("block=64", "block=16") for word in PREDICT), "--set", "tta=true"]
    with subprocess.Popen([*PROGRAM, *small], stderr=subprocess.PIPE, text=True) as driver:
        while driver.poll() is None and not any(desk.glob("new.zarr/0/c/*/*")):
            time.sleep(0.001)
        driver.send_signal(signal.SIGHUP)
        _, told = driver.communicate()
    assert driver.returncode == ExitCode.STOPPED, told
    assert "SIGHUP: ending the blocks under way; run again to go on" in told


def test_nohup_keeps_a_run_going(desk):
    ignoring = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *PROGRAM, *PREDICT]
    with subprocess.Popen(ignoring, stderr=subprocess.PIPE, text=True) as driver:
        while driver.poll() is None and not list(desk.glob("new.zarr/0/c/*/*")):
            time.sleep(0.01)
        driver.send_signal(signal.SIGHUP)
        _, told = driver.communicate()
    assert driver.returncode == 0, told


def test_names_do_not_rule_a_terminal(desk):
    found = run("info", "no\x1b]0;title\x07\u202e\nsuch.tif")
    assert found.returncode == ExitCode.REFUSED
    assert found.stderr.startswith(r"error: no\x1b]0;title\x07\u202e such.tif: ")
    assert found.stderr.count("\n") == 1
    text = (desk / "spec.yaml").read_text().replace("nucleus", r'"nu\acleus"')
    (desk / "odd.yaml").write_text(text)
    shown = run("model", "info", "odd.yaml")
    assert (shown.returncode, r"background, nu\x07cleus, border" in shown.stdout) == (0, True)


def test_text_that_people_write_is_shown_as_it_is():
    for text in ("plain", "µm, 日本語, ä\n", "a\tb", "שלום"):
        assert clean(text) == text
    assert clean("\u200fa\u2028\u061c") == r"\u200fa\u2028\u061c"
    assert clean("\x9b31m\x7f\r\ud800") == r"\x9b31m\x7f\r\ud800"


def test_a_path_that_is_not_utf8_and_a_working_folder_that_is_gone(desk):
    found = run("ingest", "rgb.png", b"o\xff.zarr")
    assert found.returncode == ExitCode.REFUSED
    assert re.fullmatch(
        r"error: \S*o\\udcff.zarr\S*: not UTF-8, which this path must be; rename it\n", found.stderr
    )
    assert run("info", "rgb.png").returncode == 0
    (desk / "gone").mkdir()
    words = ["sh", "-c", 'cd gone && rmdir ../gone && exec "$@"', "sh", *PROGRAM, "info", "../rgb.png"]
    found = subprocess.run(words, capture_output=True, check=False, text=True)
    assert found.returncode == ExitCode.REFUSED
    assert found.stderr.splitlines()[-1].startswith("error: the working folder is not there any longer; ")
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("verb", ["info", "verify", "status"])
def test_names_that_are_too_long_are_refused_in_a_line(desk, verb):
    found = run(verb, "n" * 300)
    assert (found.returncode, found.stderr.count("\n")) == (2, 1), found.stderr
    assert found.stderr.startswith("error: nnn")


def test_exit_codes_are_those_of_the_documents():
    table = (ROOT / "docs/predict.md").read_text()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.M)} == set(ExitCode)
    script = (ROOT / "slurm/job.sh").read_text()
    told = {int(code) for code in re.findall(r"(?:exit|return|code [!=]=) (\d+)", script)}
    assert told <= {*ExitCode, 1}
    assert ExitCode.STOPPED in told
