"""What a plan writes: the layout of its store, and its events as the ledger keeps them. Runs nothing."""

from unet_batch.predict.plan import Plan
from unet_batch.predict.request import Request
from unet_batch.schedule.events import Event
from unet_batch.store.journal import Entry, Status
from unet_batch.store.masks_layout import MasksLayout


def layout_of(plan: Plan, request: Request) -> MasksLayout:
    """The store that a plan fills."""
    spec, image, out = plan.spec, request.image, plan.output
    chunk = (1,) * request.outer + (out.chunk,) * spec.dims
    return MasksLayout(
        kind=spec.head,
        axes=request.axes,
        shape=plan.image.shape,
        block=plan.grid.block,
        chunk=tuple(min(c, b) for c, b in zip(chunk, plan.grid.block, strict=True)),
        dims=spec.dims,
        names=spec.classes,
        pixel_size=dict(image.pixel_size),
        unit=image.unit,
        compression=out.compression,
        levels=out.levels,
        probabilities=out.probabilities,
        confidence=out.confidence,
    )


def classes_counted(plan: Plan) -> int:
    """How many pixel counts each block has."""
    return 1 if plan.spec.head == "regression" else plan.spec.out_channels


def entry_of(event: Event, index: tuple[int, ...]) -> Entry:
    """An event as the ledger keeps it."""
    return Entry(
        index,
        Status[event.status.upper()],
        checksum=event.checksum,
        seconds=event.seconds,
        counts=event.counts,
        worker=event.worker,
        error=event.error,
    )
