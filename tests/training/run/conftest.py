"""One world for all tests of runs."""

import pytest
import torch

from tests.training.run.worlds import write_world


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads of so small networks only wait for each other; their number shows in the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
