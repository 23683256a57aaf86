"""Devices and precisions by name; prepared networks compute what the module computes."""

import builtins
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from unet_batch.devices import claim
from unet_batch.errors import InputError
from unet_batch.models import normalise
from unet_batch.models.build import build
from unet_batch.models.device import prepare, resolve_device, resolve_precision, set_tf32
from unet_batch.models.feed import Feed
from unet_batch.models.folding import fold_batch_norm
from unet_batch.models.machine import cpu_has_bf16
from unet_batch.models.normalise import Affine
from unet_batch.models.runtime import Runtime
from unet_batch.models.spec import ModelSpec


def small(dims=2, norm="batch"):
    torch.manual_seed(0)
    spec = ModelSpec(dims=dims, in_channels=2, classes=["a", "b"], width=4, depth=2, norm=norm)
    model = build(spec)
    model(torch.randn(4, 2, *[spec.input_size(8)] * dims))  # moves batch norm's running statistics
    return model.eval(), spec


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cpu:1", "cuda:", "cuda:99", ""])
def test_devices_that_are_not_there(name):
    with pytest.raises(InputError, match="device"):
        resolve_device(name)


def test_devices_that_are_there(monkeypatch, tmp_path):
    assert resolve_device("cpu") == resolve_device("auto") == "cpu"
    monkeypatch.setenv("UNET_BATCH_SIMULATED", '{"count": 2}')
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(claim.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(claim, "_held", {})
    assert [resolve_device(name) for name in ("auto", "cuda", "cuda:1")] == ["cuda:0", "cuda:0", "cuda:1"]
    with pytest.raises(InputError, match="there are 2 CUDA devices"):
        resolve_device("cuda:2")


def test_precisions():
    assert resolve_precision("bf16", "cpu") == "bf16"
    assert resolve_precision("fp16", "cuda:0") == "fp16"
    assert resolve_precision("auto", "cpu") == ("bf16" if cpu_has_bf16() else "fp32")
    for name in ("fp16", "int8"):
        with pytest.raises(InputError, match=f"precision {name}"):
            resolve_precision(name, "cpu")


@pytest.mark.parametrize("dims", [2, 3])
def test_folding_changes_nothing_but_the_norms(dims):
    model, spec = small(dims)
    x = torch.randn(1, 2, *[spec.input_size(8)] * dims)
    folded = fold_batch_norm(model)
    kinds = {type(module).__name__ for module in folded.modules()}
    assert not any(kind.startswith("BatchNorm") for kind in kinds)
    assert any(type(module).__name__.startswith("BatchNorm") for module in model.modules())
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("backend", ["eager", "openvino"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.1)])
def test_prepared_networks_compute_the_same(dims, backend, precision, tolerance):
    if backend == "openvino":
        pytest.importorskip("openvino")
    model, spec = small(dims)
    x = torch.randn(2, 2, *[spec.input_size(8)] * dims)
    before = [parameter.clone() for parameter in model.parameters()]
    ready = prepare(model, spec, Runtime("cpu", precision, backend, 2), Feed(x.shape))
    with torch.inference_mode():
        wanted = model(x)
    found = ready(x)
    assert found.dtype == torch.float32
    assert (found - wanted).abs().max() < tolerance * wanted.std()
    assert torch.equal(found, ready(x))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("backend", ["eager", "openvino"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.1)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_stored_pixels_are_normalised_on_the_way(backend, precision, tolerance, dtype):
    if backend == "openvino":
        pytest.importorskip("openvino")
    model, spec = small()
    shape = (2, 2, *[spec.input_size(8)] * 2)
    # In a graph of 8 bits, 40,000 and what lies near it would be one value.
    low, affine = (40_000 if dtype == torch.uint16 else 0), Affine((3.5, 60.0), (1 / 64, 0.02))
    affine = Affine(tuple(low + value for value in affine.offset), affine.scale)
    x = (low + torch.randint(0, 200, shape)).to(dtype)
    if dtype.is_floating_point:
        x[0, 0, 3, 4] = torch.nan
    ready = prepare(model, spec, Runtime("cpu", precision, backend, 2), Feed(shape, dtype, affine))
    found = ready(x).clone()
    with torch.inference_mode():
        wanted = model(torch.nan_to_num(normalise.apply(x, affine)))
    assert (found - wanted).abs().max() < tolerance * wanted.std()


@pytest.mark.parametrize(
    ("keys", "ordered", "precision"),
    [
        ({"norm": "batch", "padding": "same", "up": "interpolated"}, True, "fp32"),
        ({"norm": "batch", "padding": "same", "up": "interpolated"}, True, "bf16"),
        ({"norm": "none", "head": "multilabel"}, True, "fp32"),
        ({"norm": "batch", "dims": 3, "depth": 1}, True, "fp32"),
        ({"preset": "ternausnet-11", "width": 4}, True, "fp32"),
        ({"norm": "instance"}, False, "fp32"),
        ({"norm": "group"}, False, "fp32"),
        ({"norm": "group"}, False, "bf16"),
    ],
)
def test_calls_at_once_give_the_bytes_of_one_alone(keys, ordered, precision):
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    size = {} if "preset" in keys else {"width": 16, "depth": 2}
    spec = ModelSpec(in_channels=3, classes=["a", "b"], **{**size, **keys})
    shape = (1, 3, *[spec.input_size(40)] * spec.dims)
    affine = Affine((100.0,) * 3, (0.02,) * 3)
    inputs = [torch.randint(0, 256, shape, dtype=torch.uint8) for _ in range(4)]

    def ready(threads, at_once):
        runtime = Runtime("cpu", precision, "openvino", threads, at_once)
        return prepare(build(spec).eval(), spec, runtime, Feed(shape, torch.uint8, affine))

    torch.manual_seed(1)
    alone = ready(2, 1)
    assert alone.calls == 1
    wanted = [alone(x).clone() for x in inputs]
    cores = len(os.sched_getaffinity(0))
    for threads, at_once in ((2, 2), (4, 4)):
        torch.manual_seed(1)
        network = ready(threads, at_once)
        assert 1 < network.calls <= at_once if ordered and cores > 1 else network.calls == 1
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda x, network=network: network(x).clone(), inputs))
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_one_converted_network_serves_many_shapes():
    pytest.importorskip("openvino")
    for keys in ({"padding": "same"}, {"up": "interpolated"}, {"norm": "instance"}, {"norm": "group"}):
        torch.manual_seed(0)
        spec = ModelSpec(in_channels=1, classes=["a", "b"], width=4, depth=2, **keys)
        model = build(spec).eval()
        for tile in ((8, 8), (16, 24), (4, 8)):
            x = torch.randn(1, 1, *map(spec.input_size, tile))
            found = prepare(model, spec, Runtime("cpu", "fp32", "openvino", 2), Feed(x.shape))(x)
            with torch.inference_mode():
                torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's, of itself
def test_a_compiled_network_computes_the_same():
    torch.manual_seed(0)
    spec = ModelSpec(in_channels=1, classes=["a", "b"], width=2, depth=1)
    model, x = build(spec).eval(), torch.randn(1, 1, *[spec.input_size(8)] * 2)
    ready = prepare(model, spec, Runtime("cpu", "fp32", "compile"), Feed(x.shape))
    with torch.inference_mode():
        torch.testing.assert_close(ready(x), model(x), rtol=1e-4, atol=1e-4)


def test_a_call_uses_the_planned_threads():
    model, spec = small()
    x = torch.randn(1, 2, *[spec.input_size(8)] * 2)
    ready = prepare(model, spec, Runtime("cpu", "fp32", "eager", 1), Feed(x.shape))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        ready(x)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_openvino_refuses_what_it_cannot_do(monkeypatch):
    model, spec = small()
    shape = (1, 2, *[spec.input_size(8)] * 2)
    with pytest.raises(InputError, match="runs on the CPU, not on cuda"):
        prepare(model, spec, Runtime("cuda", "bf16", "openvino"), Feed(shape))
    with pytest.raises(InputError, match="no fp16"):
        prepare(model, spec, Runtime("cpu", "fp16", "openvino"), Feed(shape))
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "openvino":
            raise ModuleNotFoundError(name, name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"openvino needs openvino; run: pip install 'unet-batch\[fast\]'"):
        prepare(model, spec, Runtime("cpu", "fp32", "openvino"), Feed(shape))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_computes_the_same(dims, precision):
    model, spec = small(dims)
    x = torch.randn(2, 2, *[spec.input_size(8)] * dims)
    ready = prepare(model, spec, Runtime("cuda", precision, "eager"), Feed(x.shape))
    with torch.inference_mode():
        wanted = model(x)
    found = ready(x.cuda())
    tolerance = 1e-4 if precision == "fp32" else 0.1
    assert (found.cpu() - wanted).abs().max() < tolerance * wanted.std()
    assert torch.equal(found, ready(x.cuda()))


def test_openvino_reports_nothing_to_its_makers():
    pytest.importorskip("openvino")
    code = (
        "import sys, torch\n"
        "from unet_batch.models.openvino import OpenVinoNetwork\nfrom unet_batch.models.feed import Feed\n"
        "from unet_batch.models.runtime import Runtime\n"
        "runtime = Runtime('cpu', 'fp32', 'openvino', 1)\n"
        "OpenVinoNetwork(torch.nn.Conv2d(1, 1, 1), runtime, Feed((1, 1, 8, 8)), (1, 1, 8, 8))\n"
        "import openvino.tools.ovc as ovc\n"
        "print(sys.modules['openvino_telemetry'], type(ovc.telemetry).__module__)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["None", "openvino.tools.ovc.telemetry_stub"]


def test_fp32_is_fp32_unless_tf32_is_asked_for():
    for allowed, name in ((True, "high"), (False, "highest")):
        set_tf32(allowed=allowed)
        assert torch.backends.cudnn.allow_tf32 is allowed
        assert torch.get_float32_matmul_precision() == name
