"""Errors at the door: places and metadata that hold no usable array are one clear line."""

import json

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unet_batch.errors import DamageError, FormatError, MissingError, OutputError
from unet_batch.store.arrays import create_array, open_array
from unet_batch.store.layout import ArrayLayout
from unet_batch.tiling.box import Box

SMALL = ArrayLayout((16, 16), "uint8", (16, 16), (8, 8))


def test_missing_and_foreign_places(tmp_path):
    with pytest.raises(MissingError, match="no such path"):
        open_array(tmp_path / "nothing")
    (tmp_path / "file").write_text("text")
    with pytest.raises(FormatError, match="a file, not a Zarr store"):
        open_array(tmp_path / "file")
    with pytest.raises(FormatError, match="no Zarr"):
        open_array(tmp_path)
    with pytest.raises(OutputError, match="file is in the way"):
        create_array(tmp_path / "file", SMALL)
    with pytest.raises(OutputError, match="file is in the way"):
        create_array(tmp_path / "file" / "below", SMALL)
    create_array(tmp_path / "a", SMALL)
    with pytest.raises(OutputError, match="exists already"):
        create_array(tmp_path / "a", SMALL)


def test_pixels_that_are_not_numbers_are_refused(tmp_path):
    zarr.create_array(tmp_path / "complex", shape=(4, 4), dtype="complex64")
    with pytest.raises(FormatError, match="complex64"):
        open_array(tmp_path / "complex")
    zarr.create_array(tmp_path / "empty", shape=(0, 4), dtype="uint8", chunks=(1, 4))
    with pytest.raises(FormatError, match="no pixels"):
        open_array(tmp_path / "empty")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_hostile_metadata_is_one_clear_error(tmp_path, data):
    target = tmp_path / "a"
    if not target.exists():
        create_array(target, SMALL).write_shard(Box.of_shape((16, 16)), np.ones((16, 16), np.uint8))
        (tmp_path / "good.json").write_bytes((target / "zarr.json").read_bytes())
    metadata = json.loads((tmp_path / "good.json").read_text())
    key = data.draw(st.sampled_from(sorted(metadata)))
    if data.draw(st.booleans()):
        del metadata[key]
    else:
        metadata[key] = data.draw(JSON)
    text = json.dumps(metadata).encode()
    cut = data.draw(st.sampled_from([len(text), len(text) // 2, 0]))
    tail = data.draw(st.sampled_from([b"", b"\xff\xfe"]))
    (target / "zarr.json").write_bytes(text[:cut] + tail)
    said = ""
    try:
        array = open_array(target)
        array.read(Box.of_shape(tuple(min(n, 2) for n in array.shape)))
    except (FormatError, DamageError) as error:
        said = str(error)
    assert "\n" not in said
