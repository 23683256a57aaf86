"""On a Dask worker: its packets of blocks, and what their work may ask about where it is done."""

from distributed import get_worker

from unet_batch.schedule.events import Event, Work, attempt

Packet = tuple[int, ...]


def run_packet(work: Work, packet: Packet) -> list[Event]:
    """On a worker: the blocks of a packet in turn."""
    worker = get_worker().address
    return [attempt(work, number, worker) for number in packet]


def packets_here() -> int:
    """How many packets this worker runs at the same time; 1 outside a worker."""
    try:
        return int(get_worker().state.nthreads)
    except ValueError:
        return 1
