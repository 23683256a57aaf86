"""The simulated device: what a real one would punish is punished."""

import time

import pytest
import torch
from torch import nn

from unet_batch.devices import simulated
from unet_batch.devices.claim import SIMULATED, visible
from unet_batch.devices.device import open_device


@pytest.fixture
def opened(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    simulated.forget()

    def opened(ordinal=0, **settings):
        words = ", ".join(f'"{key}": {value}' for key, value in settings.items())
        monkeypatch.setenv(SIMULATED, f'{{"count": 2{", " * bool(words)}{words}}}')
        return open_device(f"cuda:{ordinal}")

    yield opened
    simulated.forget()


def pinned(device, values):
    memory = device.pinned(values.shape, values.dtype)
    memory.copy_(values)
    return memory


def test_tensors_of_device_and_host_do_not_mix(opened):
    pixels = opened().upload(torch.ones(3))
    with pytest.raises(RuntimeError, match="same device"):
        pixels + torch.ones(3)
    with pytest.raises(TypeError, match="numpy"):
        pixels.numpy()


def test_tensors_of_two_devices_do_not_mix(opened):
    one, other = opened(0).upload(torch.ones(3)), opened(1).upload(torch.ones(3))
    with pytest.raises(RuntimeError, match="same device"):
        one + other


def test_a_kernel_that_does_not_wait_for_the_copy_reads_poison(opened):
    device = opened()
    upload, compute = device.stream(), device.stream()
    with upload:
        pixels = device.upload(pinned(device, torch.ones(3)))
    with compute:
        doubled = pixels * 2
        back = device.pinned((3,), torch.float32)
        device.download(doubled, back)
        compute.record().synchronize()
    assert back.isnan().all()
    assert device.races


def test_the_host_reads_poison_before_it_has_waited(opened):
    device = opened()
    stream, back = device.stream(), device.pinned((3,), torch.uint8)
    with stream:
        device.download(device.upload(pinned(device, torch.ones(3, dtype=torch.uint8))), back)
        done = stream.record()
    assert back.tolist() == [0xAB] * 3
    done.synchronize()
    assert back.tolist() == [1] * 3
    assert not device.races


def test_pinned_memory_that_changes_too_early_is_a_race(opened):
    device = opened()
    staged = pinned(device, torch.ones(3))
    device.upload(staged)
    staged.fill_(2)
    device.synchronize()
    assert device.races == ["pinned memory changed before it was copied to the device"]


def test_overwriting_what_another_stream_reads_is_a_race(opened):
    device = opened()
    reader, writer = device.stream(), device.stream()
    with writer:
        memory = device.upload(pinned(device, torch.ones(3)))
        reader.wait(writer.record())
    with reader:
        kept = memory + 1
    with writer:
        memory.fill_(0)
    assert len(device.races) == 1
    assert kept.shape == (3,)


def test_pageable_copies_are_counted_and_wait(opened):
    device = opened()
    device.upload(torch.ones(3))
    assert device.counts == {"pageable": 1, "synchronisations": 1}
    float(device.upload(pinned(device, torch.ones(1)))[0])
    assert device.counts["synchronisations"] == 2


def test_memory_ends(opened):
    device = opened(bytes=1000)
    kept = device.empty((200,), torch.float32)
    with pytest.raises(torch.OutOfMemoryError):
        device.empty((100,), torch.float32)
    del kept
    assert device.empty((100,), torch.float32).shape == (100,)


def test_a_captured_program_does_not_wait(opened):
    device = opened()
    memory = device.upload(pinned(device, torch.ones(2)))

    def program():
        float(memory[0])

    with pytest.raises(RuntimeError, match="captured"):
        device.capture(program)


def test_streams_work_beside_each_other(opened):
    device = opened(seconds=0.2)
    streams, began = [device.stream() for _ in range(3)], time.monotonic()
    events = []
    for stream in streams:
        with stream:
            device.upload(pinned(device, torch.ones(2)))
            events.append(stream.record())
    ends = {event.finish for event in events}
    assert max(ends) - min(ends) < 0.2
    assert not events[0].query()
    for event in events:
        event.synchronize()
    assert time.monotonic() - began >= 0.2


def test_contexts_are_those_that_were_opened(opened, monkeypatch, tmp_path):
    assert simulated.contexts() == []
    opened(1)
    assert simulated.contexts() == ["SIM-1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert visible() == ("SIM-1", "SIM-0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "SIM-0")
    assert open_device("cuda:0").label == "SIM-0"


def test_networks_learn_there(opened):
    device = opened()
    network = device.move(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1)))
    pixels = device.upload(pinned(device, torch.randn(2, 1, 8, 8)))
    network(pixels).square().mean().backward()
    assert all(parameter.grad.is_cuda for parameter in network.parameters())
    assert not device.races
    assert device.counts["synchronisations"] == 0
