"""Settings of all tests. Shared machines are slow at times, so no property has a deadline."""

import os

# Two test processes on two cores: waiting OpenMP threads that spin take the time of those that compute
# (measured: 12 to 17 s spinning, 3.3 to 3.8 s not, for one serial prediction). Set before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True, scope="session")
def _nothing_outlives_the_power():
    """Syncing costs the tests some milliseconds a time, and their files are gone with them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield
