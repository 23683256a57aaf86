"""The master law: an identity network returns its input, whatever the shape, grid, layout or executor."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import noise, write_identity, write_image
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return {
        (dims, depth, padding): write_identity(
            folder / f"{dims}{depth}{padding}.safetensors", dims, depth, padding
        )
        for dims in (2, 3)
        for depth in (1, 2)
        for padding in ("valid", "same")
    }


@st.composite
def cases(draw):
    dims = draw(st.sampled_from([2, 3]))
    outer = draw(st.sampled_from(["", "z"] if dims == 2 else ["", "t"]))
    shape = tuple(draw(st.integers(1, 3)) for _ in outer)
    shape += tuple(draw(st.integers(1, 40 if dims == 2 else 14)) for _ in range(dims))
    depth = draw(st.sampled_from([1, 2]))
    extent = st.integers(1, 6 if dims == 2 else 3).map(lambda n: n * 2**depth)
    fewest = [-(-n // (4 * 2**depth)) for n in shape[-dims:]]  # blocks: at most four an axis, for time
    return {
        "shape": shape,
        "axes": outer + "zyx"[-dims:],
        "network": (dims, depth, draw(st.sampled_from(["valid", "same"]))),
        "block": tuple(2**depth * draw(st.integers(few, few + 3)) for few in fewest),
        "tile": tuple(draw(extent) for _ in range(dims)),
        "chunk": draw(st.integers(1, 20)),
        "merge": draw(st.sampled_from(["crop", "blend"])),
        "border": draw(st.sampled_from(["mirror", "edge", "constant"])),
        "batch": draw(st.integers(1, 3)),
    }


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_serial(networks, case):
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), networks, case, workers=0)


@pytest.mark.soak
@settings(max_examples=500, deadline=None)
@given(case=cases())
def test_serial_at_length(networks, case):
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), networks, case, workers=0)


@pytest.mark.parametrize("scheduler", ["processes", "threads"])
def test_dask(networks, tmp_path, clusters, scheduler):
    case = {
        "shape": (3, 61, 83),
        "axes": "zyx",
        "network": (2, 2, "valid"),
        "block": (24, 16),
        "tile": (8, 16),
        "chunk": 17,
        "merge": "crop",
        "border": "mirror",
        "batch": 2,
    }
    check(tmp_path, networks, case, scheduler=clusters(scheduler))


def check(folder, networks, case, **where):
    pixels = noise(case["shape"])
    image = write_image(folder / "image.zarr", pixels, case["axes"], case["chunk"])
    config = PredictConfig(
        block=case["block"],
        tile=case["tile"],
        merge=case["merge"],
        border=case["border"],
        batch=case["batch"],
        precision="fp32",
        backend="eager",
        device="cpu",
        **where,
    )
    out = folder / "out.zarr"
    shutil.rmtree(out, ignore_errors=True)
    found = predict(image, out, networks[case["network"]], config)
    assert found.state == "done"
    assert found.pixels == pixels.size
    written = Masks.open(out).read(Box.of_shape(pixels.shape))[0]
    if case["merge"] == "crop":
        np.testing.assert_array_equal(written, pixels)
    else:
        np.testing.assert_allclose(written, pixels, rtol=1e-6)
