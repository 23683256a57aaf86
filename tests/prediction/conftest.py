import pytest

from unet_batch.cluster.config import ClusterConfig
from unet_batch.cluster.local import connect


@pytest.fixture(scope="session")
def clusters():
    """Address of a running cluster of a kind: two worker processes, or threads in this process."""
    opened = {}

    def address(kind: str) -> str:
        if kind not in opened:
            context = connect(ClusterConfig(workers=2, concurrency=3, processes=kind == "processes"))
            opened[kind] = (context, context.__enter__())
        return opened[kind][1].scheduler_info()["address"]

    yield address
    for context, _ in opened.values():
        context.__exit__(None, None, None)
