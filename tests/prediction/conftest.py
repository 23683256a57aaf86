import pytest

from unet_batch.cluster.config import ClusterConfig
from unet_batch.cluster.local import connect, rendezvous_of


@pytest.fixture(scope="session")
def clusters(tmp_path_factory):
    """Scheduler of a running cluster of a kind: two worker processes, or threads in this process."""
    opened = {}

    def address(kind: str) -> str:
        if kind not in opened:
            context = connect(ClusterConfig(workers=2, concurrency=3, processes=kind == "processes"))
            client = context.__enter__()
            # Threads speak within this process, by an address; processes by TLS, whose key the file names.
            scheduler = client.scheduler.address
            if kind == "processes":
                scheduler = str(rendezvous_of(client, tmp_path_factory.mktemp(kind)))
            opened[kind] = (context, scheduler)
        return opened[kind][1]

    yield address
    for context, _ in opened.values():
        context.__exit__(None, None, None)
