"""How runs end other than well: set aside, stopped, busy, out of space. Each goes on where it ended."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr
from PIL import Image as Pillow

from tests.cli.program import SERIAL, call, listing, predict, settings
from tests.worlds import noise, shard_hashes, write_image
from unet_batch.store.lock import OutputLock
from unet_batch.tiling import BlockGrid

CHUNK, SIDE = 32, 320


def unsampled_chunk():
    """Index of a chunk that an image's identity does not look at, so that only its blocks meet it."""
    sampled = {box.start for box in BlockGrid((SIDE, SIDE), (CHUNK, CHUNK)).spaced(16)}
    cells = np.ndindex(SIDE // CHUNK, SIDE // CHUNK)
    return next(cell for cell in cells if tuple(i * CHUNK for i in cell) not in sampled)


@pytest.fixture
def wide(desk):
    """Settings for wide.zarr: one plane in many chunks, which the network takes thrice."""
    write_image(desk / "wide.zarr", noise((SIDE, SIDE), seed=3), "yx", chunk=CHUNK)
    return (*SERIAL, "channels=[0, 0, 0]")


def test_a_block_that_fails_is_set_aside_and_tried_again_on_request(desk, wide):
    whole = predict("--quiet", image="wide.zarr", out="whole.zarr", using=wide)
    assert whole.code == 0
    row, column = unsampled_chunk()
    file = desk / "wide.zarr" / "c" / str(row) / str(column)
    content = file.read_bytes()
    file.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])

    answer = predict(image="wide.zarr", using=wide)
    assert answer.code == 3
    assert "was set aside: DamageError" in answer.err
    found = call("status", "out.zarr", "--json").json
    assert (found["state"], found["blocks"]["pending"]) == ("failed", 0)
    assert found["blocks"]["failed"] == len(found["failures"]) > 0
    labels = zarr.open_array(desk / "out.zarr" / "0", mode="r")[:]
    assert (labels[row * CHUNK : (row + 1) * CHUNK, column * CHUNK : (column + 1) * CHUNK] == 255).all()
    assert (labels != 255).any()

    checked = call("verify", "out.zarr")
    assert checked.code == 3
    assert "are failed, so not checked; run predict with --retry-failed" in checked.err
    assert call("verify", "whole.zarr").code == 0
    again = predict(image="wide.zarr", using=wide)
    assert (again.code, "nothing to do" in again.err) == (3, True)
    file.write_bytes(content)
    assert predict("--retry-failed", "--quiet", image="wide.zarr", using=wide).code == 0
    assert call("status", "out.zarr", "--json").json["blocks"]["failed"] == 0
    assert shard_hashes(desk / "out.zarr") == shard_hashes(desk / "whole.zarr")


def test_sigterm_ends_with_75_and_the_next_run_goes_on(desk, wide):
    small = (*wide, "block=32")
    assert predict("--quiet", image="wide.zarr", out="whole.zarr", using=small).code == 0
    words = ["predict", "wide.zarr", "out.zarr", "--model", "net.safetensors", *settings(*small)]
    command = [sys.executable, "-m", "unet_batch", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
        while driver.poll() is None and not list(desk.glob("out.zarr/0/c/*/*")):
            time.sleep(0.01)
        driver.send_signal(signal.SIGTERM)
        out, err = driver.communicate()
    assert driver.returncode == 75, (out, err)
    assert "SIGTERM: ending the blocks under way; run again to go on" in err
    found = call("status", "out.zarr", "--json").json
    assert found["state"] == "incomplete"
    assert 0 < found["blocks"]["done"] < found["blocks"]["total"] == 100
    checked = call("verify", "out.zarr", "--json")
    assert (checked.code, checked.json["ok"]) == (3, False)
    assert checked.json["pending"] == found["blocks"]["pending"]
    answer = predict(image="wide.zarr", using=small)
    assert answer.code == 0
    assert f"resuming: {found['blocks']['pending']} of 100 blocks are left" in answer.err
    assert shard_hashes(desk / "out.zarr") == shard_hashes(desk / "whole.zarr")


@pytest.mark.parametrize("out", ["out.zarr", "done.zarr"])
def test_a_second_driver_is_told_to_come_again(desk, out):
    (desk / out / "ledger").mkdir(parents=True, exist_ok=True)
    with OutputLock.inside(desk / out / "ledger"):
        before = listing(desk)
        answer = predict(out=out)
        assert listing(desk) == before
    assert (answer.code, answer.out) == (75, "")
    assert answer.err.startswith(f"error: {out}: process {os.getpid()} on ")
    assert answer.err.endswith("is writing it; wait for it or stop it\n")


def test_outputs_that_are_in_the_way(desk, refused):
    (desk / "file").write_text("mine")
    (desk / "folder").mkdir()
    (desk / "folder" / "letter.txt").write_text("mine")
    for run in (lambda out: predict(out=out), lambda out: call("ingest", "rgb.png", out)):
        assert refused(run, "file").startswith("file: ")
        assert "choose another output" in refused(run, "folder")
        assert "file/out.zarr" in refused(run, "file/out.zarr")
    assert "the folder no/such does not exist" in refused(predict, out="no/such/out.zarr")
    assert "add --overwrite" in refused(call, "ingest", "rgb.png", "image.zarr")
    assert "no mask store of this program" in refused(predict, out="image.zarr")
    assert "a folder is in the way" in refused(call, "model", "new", "spec.yaml", "folder")


@pytest.mark.parametrize("run", [predict, lambda out: call("ingest", "rgb.png", out)])
def test_outputs_that_cannot_be_written(refused, run):
    said = refused(run, out="/proc/out.zarr")
    assert said.startswith("/proc/out.zarr")
    assert "choose another output" in said


def test_a_folder_without_write_permission(desk, refused):
    (desk / "locked").mkdir(mode=0o500)
    if os.access(desk / "locked", os.W_OK):
        pytest.skip("this user may write anywhere")
    assert "not writable; ask for write permission" in refused(predict, out="locked/out.zarr")
    assert "not writable; ask for write permission" in refused(call, "ingest", "rgb.png", "locked/out.zarr")


def test_a_disk_too_small_for_an_image(desk, small_disk):
    Pillow.fromarray(noise((900, 900, 3))).save(desk / "large.png")
    disk = small_disk("1m")
    said = call("ingest", "large.png", disk / "out.zarr", "--set", "block=256").refusal
    assert "the disk or quota is full; free space" in said
    assert [entry.name for entry in disk.iterdir()] == ["out.zarr.partial"]  # the next run goes on in it


@pytest.mark.parametrize("inside", [False, True])
def test_a_disk_too_small_to_begin_a_mask_store(desk, small_disk, inside):
    disk = small_disk("1m" if inside else "16k")
    if inside:
        shutil.copytree("image.zarr", disk / "image.zarr")
        free = shutil.disk_usage(disk).free
        (disk / "ballast").write_bytes(bytes(free - 16 * 1024))
    before = listing(disk)
    out = disk / "image.zarr" / "labels" / "cells" if inside else disk / "out.zarr"
    assert "the disk or quota is full; free space" in predict(out=out).refusal
    assert listing(disk) == before


def test_a_disk_that_fills_up_on_the_way(desk, small_disk):
    disk = small_disk("8m")
    spared = 64 * 1024
    extra = (*SERIAL, "block=32", "probabilities=true")
    assert predict("--quiet", out="whole.zarr", using=extra).code == 0
    assert predict("--quiet", out=disk / "out.zarr", using=(*extra, "roi=[[0, 32], [0, 32]]")).code == 0
    used = shutil.disk_usage(disk).used
    shutil.rmtree(disk / "out.zarr")
    small_disk(used + spared)
    answer = predict(out=disk / "out.zarr", using=extra)
    assert (answer.code, answer.out) == (2, "")
    assert "the disk or quota is full; free space" in answer.err.splitlines()[-1]
    small_disk("8m")
    found = call("status", disk / "out.zarr", "--json").json
    assert 0 < found["blocks"]["done"] < found["blocks"]["total"]
    assert predict("--quiet", out=disk / "out.zarr", using=extra).code == 0
    assert shard_hashes(disk / "out.zarr") == shard_hashes(desk / "whole.zarr")
