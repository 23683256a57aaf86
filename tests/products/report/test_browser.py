"""The report in a real browser: no request, no word on the console, nothing that sticks out."""

import json
import re
import shutil
import subprocess
from html import escape, unescape

import pytest
from PIL import Image as Pillow

from unet_batch.products.report.config import ReportConfig
from unet_batch.products.report.run import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

# In the page that holds the report's frame, which has no script of its own.
PROBE = """
function tell(frame) {
  const page = frame.contentDocument, view = frame.contentWindow, root = page.documentElement;
  const shown = [...page.body.querySelectorAll("*")].filter(one => one.getClientRects().length);
  const texts = shown.filter(one => [...one.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
  const name = one => one.tagName + "." + one.className;
  document.title = JSON.stringify({
    width: view.innerWidth, scrolls_to: root.scrollWidth,
    wide: shown.filter(one => !one.closest(".scroll") && !one.closest(".stack") &&
                       one.getBoundingClientRect().right > view.innerWidth + 0.5).map(name),
    broken: [...page.images].filter(one => !one.complete || !one.naturalWidth).length,
    images: page.images.length, sections: page.querySelectorAll("section").length,
    smallest: Math.min(...texts.map(one => parseFloat(view.getComputedStyle(one).fontSize))),
    asked: view.performance.getEntriesByType("resource").map(one => one.name)
           .filter(address => !address.startsWith("data:")),
  });
}
"""


def browse(folder, page, width, *words):
    """What Chromium writes of ``page`` in a frame of ``width``: windows themselves are at least 500 wide."""
    frame = (
        f"<iframe onload='tell(this)' style='width:{width}px;height:3000px;border:0' srcdoc='{escape(page)}'>"
    )
    probe = folder / "probe.html"
    probe.write_text(f"<body style='margin:0'><script>{PROBE}</script>{frame}", encoding="utf-8")
    alone = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    alone += ["--disable-background-networking", "--no-first-run", f"--user-data-dir={folder}/profile"]
    command = [CHROMIUM, *alone, "--enable-logging=stderr", f"--window-size={width},3000", *words]
    return subprocess.run(
        [*command, f"file://{probe}"], capture_output=True, text=True, check=True, timeout=120
    )


def look(folder, page, width):
    """What the probe found, and the lines on the console."""
    told = browse(folder, page, width, "--dump-dom")
    found = json.loads(unescape(re.search(r"<title>(.*?)</title>", told.stdout)[1]))
    return found, [line for line in told.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_is_whole_quiet_and_fits(tmp_path, page, width):
    found, console = look(tmp_path, page, width)
    assert console == []
    assert found["asked"] == []
    assert (found["width"], found["scrolls_to"], found["wide"]) == (width, width, [])
    assert (found["broken"], found["sections"]) == (0, 7)
    assert found["images"] == 8, "three parts with their classes, and two maps"
    assert found["smallest"] >= 11


def test_the_probe_sees_what_is_wrong(tmp_path):
    page = (
        "<body style='margin:0'><p style='font-size:5px'>x</p><div style='width:900px'>y</div>"
        "<img src='http://127.0.0.1:9/z.png'><script>console.error('no')</script>"
    )
    found, console = look(tmp_path, page, 400)
    assert any('"no"' in line for line in console)
    assert found["asked"] == ["http://127.0.0.1:9/z.png"]
    assert found["scrolls_to"] == 900
    assert found["wide"] == ["DIV."]
    assert (found["broken"], found["smallest"]) == (1, 5)


def test_nothing_can_be_loaded_into_it(tmp_path, page):
    found, console = look(tmp_path, page.replace("<main>", "<main><img src='http://127.0.0.1:9/z.png'>"), 400)
    assert any("Content Security Policy" in line for line in console)
    assert found["broken"] == 1


@pytest.mark.parametrize("width", [400, 1400])
def test_it_can_be_looked_at(tmp_path, page, width):
    browse(tmp_path, page, width, f"--screenshot={tmp_path / 'shot.png'}")
    with Pillow.open(tmp_path / "shot.png") as drawn:
        assert drawn.width >= width
        assert len(drawn.convert("RGB").getcolors(2**24)) > 1000


def test_long_names_and_numbers_fit(tmp_path, masks):
    report(masks, tmp_path / "r.html", ReportConfig(title="a_very_long_name_of_a_store_" * 8))
    found, console = look(tmp_path, (tmp_path / "r.html").read_text(encoding="utf-8"), 400)
    assert (found["scrolls_to"], found["wide"], console) == (400, [], [])
