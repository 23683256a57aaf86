"""The report: every section is there, its values are the ledger's, and it needs nothing but itself."""

import json
import re
import shlex
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.cli.program import call
from tests.products.worlds import NAMES, blobs, write_image, write_masks
from tests.worlds import noise, write_network
from unet_batch.engine import history
from unet_batch.errors import InputError, MissingError
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.products.objects.run import objects
from unet_batch.products.report.config import ReportConfig
from unet_batch.products.report.run import report
from unet_batch.products.scale import quantity
from unet_batch.store.journal import Entry, Status
from unet_batch.store.ledger import Ledger

SECTIONS = ["pictures", "areas", "rate", "time", "blocks", "failures", "provenance"]


class Parsed(HTMLParser):
    """What a page holds: ids, links, data values by section, text by section; and whether tags match."""

    VOID = frozenset({"meta", "img", "input", "path"})

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.values, self.text, self.open = [], [], {}, {}, []
        self.section = None
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "section":
            self.section = found["id"]
        if "data-value" in found:
            self.values.setdefault(self.section, []).append(found["data-value"])
        self.links += [found[name] for name in ("src", "href") if name in found]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text[self.section] = self.text.get(self.section, "") + data


def test_it_needs_nothing_but_itself(page):
    parsed = Parsed(page)
    assert all(link.startswith("data:image/") for link in parsed.links)
    assert "://" not in page.replace("tcp://", "")
    assert "<script" not in page
    assert not re.search(r"url\(|@import|<link", page)


def test_every_section_is_there(page):
    parsed = Parsed(page)
    assert [name for name in parsed.ids if name in SECTIONS] == SECTIONS
    assert len([link for link in parsed.links if "jpeg" in link]) == 3, "the whole and two parts"
    assert "celldebris" in parsed.text["pictures"]
    assert "µm" in parsed.text["pictures"]


def test_close_ups_show_different_parts(masks):
    config = ReportConfig(details=24, window=150)
    report(masks, masks.parent / "many.html", config, image=masks.parent / "image")
    parts = re.findall(r"y (\d+) to \d+, x (\d+) to \d+", (masks.parent / "many.html").read_text("utf-8"))
    corners = np.array(sorted(set(parts)), int)  # captions are told twice
    assert len(corners) >= 4, "blocks are smaller than windows, but there are more than enough"
    for at, one in enumerate(corners):
        covered = np.prod(np.maximum(0, 150 - np.abs(corners[at + 1 :] - one)), axis=1)
        assert (covered <= 150**2 / 4).all()


def test_values_are_the_ledgers(masks, page):
    parsed, totals = Parsed(page), Ledger.open(masks).totals()
    assert parsed.values["areas"] == [str(count) for count in totals.class_counts]
    for name, count in zip(NAMES, totals.class_counts, strict=True):
        assert name in parsed.text["areas"]
        assert quantity(count * 0.25, "micrometer", 2) in parsed.text["areas"]
    assert [float(value) for value in parsed.values["time"]] == [20.0, 80.0, 4.0]
    assert "2.00 bytes were decoded" in parsed.text["time"]
    assert parsed.values["failures"] == ["1"]
    assert "ValueError: <script>alert(1)</script>" in parsed.text["failures"]
    for words in ("38 done", "1 skipped", "1 failed", "0 still to do", "5 x 8 blocks"):
        assert words in parsed.text["blocks"]


def test_rates_are_those_of_the_history(page):
    parsed = Parsed(page)
    assert "750 px/s over 3.3 min, 1 worker" in parsed.text["rate"]
    assert "kept 75.0 %" in parsed.text["rate"]
    drawn = re.findall(r"class='rate' d='([^']*)'", page)
    assert len(drawn) == 2
    heights = [float(point.split(",")[1]) for point in re.findall(r"[ML][\d.,]+", drawn[1])]
    assert len(heights) == 6
    assert heights[2] > heights[4] > heights[0], "200, 900 and 1000 pixels per second, downwards"


def test_the_command_repeats_it(masks, page):
    command = Parsed(page).text["provenance"]
    for words in (
        f"unet-batch predict {masks.parent / 'image'} {masks} --model 'net <1>.safetensors' --axes cyx",
        "--set 'channels=[0, 1, 2]' --set merge=crop --set 'tile=[64, 64]' --set batch=2",
        "--set precision=fp32 --set backend=eager",
        "abc123",
        "login & co",
    ):
        assert words in command


def test_a_prediction_can_be_told_of_and_its_command_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "image", noise((1, 96, 80)), "cyx")
    write_network(tmp_path / "net.safetensors", depth=2)
    settings = PredictConfig(workers=0, threads=1, block=32, tile=32, backend="eager", precision="fp32")
    predict(tmp_path / "image", tmp_path / "masks", tmp_path / "net.safetensors", settings)
    assert "report.html" in call("report", "masks", "report.html").out
    record = history.read(str(tmp_path / "masks"))[-1]
    assert record.pace
    assert record.workers == ["serial"]
    shown = Parsed((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "start of workers and network" in shown.text["time"]
    said = re.search("unet-batch predict.*", shown.text["provenance"])[0].partition("the plan")[0]
    words = shlex.split(said.partition("image/")[0])
    assert words[2:5] == [str(tmp_path / "image"), str(tmp_path / "masks"), "--model"]
    found = json.loads((tmp_path / "masks" / "zarr.json").read_text())["attributes"]["unet_batch"]
    assert found["provenance"]["given"]["block"] == [32]


def test_a_run_that_has_just_begun_can_be_told_of(tmp_path):
    masks = write_masks(tmp_path / "m", blobs((40, 40), 1))
    Ledger.create(masks, (2, 2), 3).close()
    assert report(masks, tmp_path / "r.html").state == "incomplete"
    parsed = Parsed((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "Nothing was computed yet" in parsed.text["rate"]
    assert "Not recorded" in parsed.text["provenance"]
    assert "Nothing says how large a pixel is" in parsed.text["areas"]


@pytest.mark.parametrize("kind", ["multilabel", "regression"])
def test_other_heads(tmp_path, kind):
    values = blobs((60, 70), 1, 2)
    given = np.stack([values, 1 - values]) if kind == "multilabel" else values[None] * 3.5
    names = ("road", "tree") if kind == "multilabel" else ("depth",)
    labels = given if kind == "multilabel" else given[0]
    masks = write_masks(tmp_path / "m", labels, "yx", names, kind)
    with Ledger.create(masks, (2, 3), len(names)) as ledger:
        ledger.record(Entry((0, 0), Status.DONE, seconds=1, counts=(5,) * len(names)))
    report(masks, tmp_path / "r.html")
    assert Parsed((tmp_path / "r.html").read_text(encoding="utf-8")).values["areas"] == ["5"] * len(names)


def test_stacks_have_a_map_of_their_worst_planes(tmp_path):
    masks = write_masks(tmp_path / "m", blobs((3, 40, 40), 1), "zyx", dims=2)
    with Ledger.create(masks, (3, 2, 2), 3) as ledger:
        for index in np.ndindex(3, 2, 2):
            ledger.record(Entry(index, Status.DONE, counts=(1, 2, 3)))
        ledger.record(Entry((1, 0, 1), Status.FAILED, error="x"))
    report(masks, tmp_path / "r.html", ReportConfig(window=16))
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "plane z 1" in Parsed(text).text["pictures"]


def test_what_cannot_be_told_of_is_named(tmp_path, masks):
    objects(masks, tmp_path / "o.parquet", ObjectsConfig(workers=0), labels=tmp_path / "o")
    with pytest.raises(InputError, match="holds objects"):
        report(tmp_path / "o", tmp_path / "r.html")
    with pytest.raises(InputError, match="ends in none of"):
        report(masks, tmp_path / "r.pdf")
    with pytest.raises(MissingError, match="no such path"):
        report(tmp_path / "none", tmp_path / "r.html")
    with pytest.raises(MissingError, match="no ledger"):
        report(write_masks(tmp_path / "bare", blobs((9, 9), 1)), tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
