"""What every device promises: one suite for the CPU, the simulated device and, with `-m gpu`, CUDA."""

import pytest
import torch
from torch import nn

from unet_batch.devices.claim import SIMULATED
from unet_batch.devices.device import open_device
from unet_batch.devices.simulated import forget
from unet_batch.errors import InputError

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
KINDS = ["cpu", "simulated", pytest.param("cuda:0", marks=[pytest.mark.gpu, NO_CUDA])]


@pytest.fixture(params=KINDS)
def device(request, monkeypatch):
    if request.param == "simulated":
        monkeypatch.setenv(SIMULATED, '{"count": 1, "seconds": 0.001}')
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        yield open_device("cuda:0")
        forget()
    else:
        yield open_device(request.param)


def pinned(device, values):
    memory = device.pinned(values.shape, values.dtype)
    memory.copy_(values)
    return memory


def test_pixels_come_back_as_the_network_made_them(device):
    values = torch.arange(48, dtype=torch.float32).reshape(1, 3, 4, 4)
    network = nn.Conv2d(3, 2, 1)
    with torch.inference_mode():
        expected = network(values)
        moved = device.move(network)
        staged, back = pinned(device, values), device.pinned(expected.shape, torch.float32)
        upload, compute, download = device.stream(), device.stream(), device.stream()
        with upload:
            pixels = device.upload(staged)
            compute.wait(upload.record())
        with compute:
            logits = moved(pixels)
            download.wait(compute.record())
        with download:
            device.download(logits, back)
            done = download.record()
        done.synchronize()
    assert torch.allclose(back, expected, atol=1e-2)
    assert done.query()


def test_memory_that_is_used_again_holds_the_last_values(device):
    stream, into = device.stream(), device.empty((5,), torch.int32)
    backs = [device.pinned((5,), torch.int32) for _ in range(3)]
    with stream:
        for number, back in enumerate(backs):
            device.upload(pinned(device, torch.full((5,), number, dtype=torch.int32)), into)
            device.download(into, back)
        stream.record().synchronize()
    assert [int(back[0]) for back in backs] == [0, 1, 2]


def test_a_captured_program_repeats_its_work_on_new_values(device):
    stream = device.stream()
    with stream, torch.inference_mode():
        source = device.upload(pinned(device, torch.ones(4)))
        target = device.empty((4,), torch.float32)
        total = device.upload(pinned(device, torch.zeros(4)))

        def program():
            target.copy_(source * 2 + 1)
            total.add_(target)

        replay = device.capture(program)
        device.upload(pinned(device, torch.zeros(4)), total)
        device.upload(pinned(device, torch.full((4,), 5.0)), source)
        replay()
        replay()
        back = device.pinned((4,), torch.float32)
        device.download(total, back)
        stream.record().synchronize()
    assert back.tolist() == [22.0] * 4


def test_memory_is_what_a_device_has(device):
    found = device.memory()
    assert 0 < found.free <= found.total
    device.release()
    device.synchronize()


@pytest.mark.parametrize("name", ["tpu", "cuda:99"])
def test_a_device_that_is_not_there_is_an_input_error(name):
    with pytest.raises(InputError):
        open_device(name)
