"""The viewer's server hands out the named stores to whoever has its link, and nothing else to anybody."""

import http.client
import json
import os
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.viewing.worlds import write_labels, write_picture
from unet_batch.errors import OutputError
from unet_batch.viewing.config import ViewConfig
from unet_batch.viewing.run import forwarding, view, write_link

pytest.importorskip("neuroglancer")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    image, pixels = write_picture(folder)
    write_labels(image, pixels)
    (folder / "secret.txt").write_text("secret")
    (image / "way_out").symlink_to(folder)
    return image


@pytest.fixture(scope="module")
def server(stores):
    with view(stores, ViewConfig(allow_origins=("https://viewer.example",))) as found:
        yield found


def ask(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request(method, path, headers=named)
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def under(server, path):
    return f"/v/{server.token}/{path}"


def test_the_link_leads_to_the_page_with_its_state(server):
    status, _, headers = ask(server, under(server, ""))
    assert status == 302
    assert headers["Location"].endswith(
        f"/?open=1#!http://127.0.0.1:{server.port}/v/{server.token}/state.json"
    )
    status, page, headers = ask(server, under(server, "?open=1"))
    assert (status, b"<script" in page) == (200, True)
    assert "connect-src 'self'" in headers["Content-Security-Policy"]
    state = json.loads(ask(server, under(server, "state.json"))[1])
    assert [layer["name"] for layer in state["layers"]] == ["image.zarr", "cells"]


def test_files_are_handed_out_as_they_are_stored(server, stores):
    stored = (stores / "0/c/0/0").read_bytes()
    assert ask(server, under(server, "data/0/0/c/0/0"))[1] == stored
    status, part, headers = ask(server, under(server, "data/0/0/c/0/0"), Range="bytes=3-9")
    assert (status, part) == (206, stored[3:10])
    assert headers["Content-Range"] == f"bytes 3-9/{len(stored)}"
    status, tail, _ = ask(server, under(server, "data/0/0/c/0/0"), Range="bytes=-4")
    assert (status, tail) == (206, stored[-4:])
    assert ask(server, under(server, "data/0/0/c/0/0"), Range=f"bytes=0-{10**18}")[1] == stored
    status, nothing, headers = ask(server, under(server, "data/0/0/c/0/0"), "HEAD")
    assert (status, nothing, headers["Content-Length"]) == (200, b"", str(len(stored)))
    tag = headers["Etag"]
    assert ask(server, under(server, "data/0/0/c/0/0"), If_None_Match=tag)[0] == 304
    assert ask(server, under(server, "data/0/0/c/9/9"))[0] == 404


def test_class_names_are_properties_of_segments(server):
    found = json.loads(ask(server, under(server, "data/1/properties/info"))[1])
    assert found["inline"]["ids"] == ["0", "1", "2"]
    assert found["inline"]["properties"][0]["values"] == ["background", "cell", "debris"]
    assert ask(server, under(server, "data/0/properties/info"))[0] == 404


def test_units_that_viewers_do_not_know_are_left_out(server, stores):
    file = stores / "zarr.json"
    before = file.read_text()
    try:
        document = json.loads(before)
        document["attributes"]["ome"]["multiscales"][0]["axes"][-1]["unit"] = "furlong"
        file.write_text(json.dumps(document))
        found = json.loads(ask(server, under(server, "data/0/zarr.json"))[1])
    finally:
        file.write_text(before)
    assert "unit" not in found["attributes"]["ome"]["multiscales"][0]["axes"][-1]


@pytest.mark.parametrize("token", ["", "x", "%00", "0" * 24])
def test_without_the_token_there_is_nothing(server, token):
    for path in ("", "state.json", "data/0/zarr.json"):
        assert ask(server, f"/v/{token}/{path}")[0] == 404
    assert ask(server, f"/events/{token}")[0] == 404
    assert ask(server, "/")[0] == 404


def test_other_hosts_and_methods_are_refused(server):
    path = under(server, "data/0/zarr.json")
    assert ask(server, path, Host="evil.example")[0] == 403
    assert ask(server, path, Host=f"localhost:{server.port}")[0] == 200
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(server, path, method)[0] == 405


def test_only_named_origins_may_read(server):
    path = under(server, "data/0/zarr.json")
    allowed = ask(server, path, Origin="https://viewer.example")[2]
    assert allowed["Access-Control-Allow-Origin"] == "https://viewer.example"
    assert "Access-Control-Allow-Origin" not in ask(server, path, Origin="https://evil.example")[2]


STEPS = ["..", ".", "", "0", "c", "labels", "way_out", "secret.txt", "%2e%2e", "\\..", "~", "etc"]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=6), st.integers(0, 3), st.booleans())
def test_no_path_leads_out_of_a_store(server, stores, path, number, encoded):
    text = "/".join(path)
    asked = quote(text, safe="") if encoded else text
    status, found, _ = ask(server, under(server, f"data/{number}/{asked}"))
    assert b"secret" not in found.replace(b"secret.txt", b"")
    assert status in (200, 404)
    if status == 200:
        assert os.path.realpath(stores / text.replace("%2e", ".")).startswith(os.path.realpath(stores))


def test_it_ends(stores):
    server = view(stores)
    port = server.port
    assert ask(server, under(server, "state.json"))[0] == 200
    server.stop()
    with pytest.raises(OSError, match="refused"):
        http.client.HTTPConnection("127.0.0.1", port, timeout=2).request("GET", "/")


def test_a_port_that_is_taken_is_one_line(server, stores):
    with pytest.raises(OutputError, match="choose another `port`"):
        view(stores, ViewConfig(port=server.port))


@pytest.mark.parametrize("values", [{"bind": "0.0.0.0"}, {"certificate": "c.pem"}, {"contrast": (5, 5)}])
def test_settings_that_are_refused(values):
    with pytest.raises(ValueError, match=r"certificate|percentiles"):
        ViewConfig(**values)


def test_the_state_can_be_kept(server, tmp_path):
    write_link(server, tmp_path / "state.json")
    assert json.loads((tmp_path / "state.json").read_text())["title"] == "image.zarr"


def test_the_line_for_people_elsewhere(server):
    came = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "node3"}
    assert forwarding(server, came.get) == f"ssh -N -L {server.port}:127.0.0.1:{server.port} node3"
    assert forwarding(server, {}.get) is None
