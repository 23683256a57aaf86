"""Files to masks and products in one call."""

import numpy as np
import tifffile

from tests.cli.program import SERIAL, call
from tests.worlds import noise, write_network


def test_a_folder_of_files_becomes_masks_and_products_once(tmp_path):
    net = write_network(tmp_path / "n.safetensors", depth=1)[0]
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in/large.tif", noise((90, 80)))
    np.save(tmp_path / "in/small.npy", noise((40, 50)))
    (tmp_path / "in/bad.tif").write_bytes(b"II*\0")
    settings = [word for one in SERIAL for word in ("--set", one)]
    words = [
        "run",
        tmp_path / "in",
        tmp_path / "out",
        "--model",
        net,
        "--products",
        "report,geojson",
        *settings,
    ]
    found = call(*words)
    assert found.code == 3, found  # for the bad one
    assert [line.split()[:2] for line in found.out.splitlines()[1:4]] == [
        ["large.tif", "done"],
        ["small.npy", "done"],
        ["bad.tif", "refused"],
    ]
    made = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert {"large.html", "large.geojson", "small.html", "small.geojson", "large.zarr", "small.zarr"} <= set(
        made
    )
    (tmp_path / "out/small.geojson").unlink()
    rows = call(*words, "--json", "-q").json
    assert [len(row["products"]) for row in rows] == [2, 2, 0]
    assert (tmp_path / "out/small.geojson").exists()
    assert (tmp_path / "out/large.html").stat().st_mtime_ns == made["large.html"]


def test_products_that_are_not_known_are_refused_before_any_work(tmp_path):
    net = write_network(tmp_path / "n.safetensors", depth=1)[0]
    found = call("run", tmp_path, tmp_path / "out", "--model", net, "--products", "pdf")
    assert "pdf is none of geojson" in found.refusal
    assert not (tmp_path / "out").exists()
