"""What a plan takes on many devices, and what bounds it."""

import pytest

from unet_batch.prediction.forecast import Rates, Scenario

# Seconds of a core for a pixel, against one device that makes a million pixels per second.
RATES = {
    "device": 1e6,
    "decode": 1e-6,
    "encode": 1e-6,
    "read_bytes": 1.0,
    "written_bytes": 1.0,
    "disk_reads": 1e9,
    "disk_writes": 1e9,
}
PIXELS = 3_600_000_000


@pytest.mark.parametrize(
    ("changes", "devices", "cores", "on_gpus", "hours", "bound"),
    [
        ({}, 1, 4, True, 1.0, "device"),
        ({}, 8, 4, True, 1 / 8, "device"),
        ({"decode": 5e-6}, 8, 4, True, 6 / 4 / 8, "decode"),
        ({"encode": 5e-6}, 8, 4, True, 6 / 4 / 8, "encode"),
        ({"decode": 3e-6, "encode": 2e-6}, 1, 4, True, 5 / 4, "decode"),  # the device alone takes longer
        ({}, 64, 1, True, 2 / 64, "decode"),
        ({"disk_reads": 1e6}, 64, 4, True, 1.001, "disk"),
        ({}, 1, 4, False, 1.5, "device"),  # a CPU's network shares its cores
    ],
)
def test_hours_and_what_bounds_them(changes, devices, cores, on_gpus, hours, bound):
    found = Scenario.of(Rates(**{**RATES, **changes}), PIXELS, devices, cores, on_gpus=on_gpus)
    assert (found.hours, found.bound) == (pytest.approx(hours), bound)
