"""What a plan writes: the layout of its store. Runs nothing."""

from unet_batch.colours import Rgba, chosen
from unet_batch.errors import InputError
from unet_batch.prediction.plan import Plan
from unet_batch.prediction.request import Request
from unet_batch.store.masks_layout import MasksLayout
from unet_batch.store.ome import class_colours


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
        colours=_colours(request),
        pixel_size=dict(image.pixel_size),
        unit=image.unit,
        compression=out.compression,
        levels=out.levels,
        probabilities=out.probabilities,
        confidence=out.confidence,
        georef=image.georef,
    )


def _colours(request: Request) -> tuple[Rgba, ...]:
    """The colours that settings, else the network, name; none where they name none."""
    spec = request.spec
    own = dict(request.config.colours)
    given = {**dict(spec.colours), **own}
    if unknown := [name for name in own if name not in spec.classes]:
        raise InputError(
            f"colours: {unknown[0]} is no class of the network; its classes are {', '.join(spec.classes)}"
        )
    return chosen(spec.classes, given, class_colours(spec.classes))


def classes_counted(plan: Plan) -> int:
    """How many pixel counts each block has."""
    return 1 if plan.spec.head == "regression" else plan.spec.out_channels
