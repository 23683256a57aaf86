"""From a request and a choice of tile, batch and arithmetic to the plan. Imports no torch, runs nothing."""

from math import ceil, prod
from typing import Literal

import numpy as np

from unet_batch.errors import InputError
from unet_batch.formats.image import is_foreign
from unet_batch.models.normalise import affine_for
from unet_batch.models.spec import MEASURED
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.mask import open_mask
from unet_batch.prediction.plan import (
    Choice,
    ComputePart,
    GridPart,
    ImagePart,
    ModelPart,
    OutputPart,
    Plan,
    SelectPart,
)
from unet_batch.prediction.request import Request
from unet_batch.prediction.resources import machine_threads
from unet_batch.store.image import Image
from unet_batch.tiling import ceil_div, round_down, round_up

BLOCK = {("cpu", 2): 2048, ("cuda", 2): 4096, ("cpu", 3): 128, ("cuda", 3): 256}
SMALLEST_BLOCK = {2: 512, 3: 64}
CHUNK = {2: 512, 3: 128}
FEW_BLOCKS = 4
ORDERED_NORMS = ("none", "batch")


def make_plan(request: Request, choice: Choice) -> Plan:
    """The plan of ``request`` with every ``auto`` decided by ``choice``.

    Raises:
        InputError: a block or tile that the network cannot take.
    """
    config, spec, image = request.config, request.spec, request.image
    channels = request.channels()
    mask = None if request.nodata_mask is None else open_mask(request.nodata_mask, image)
    affine = affine_for(spec, lambda q: image.percentiles(q, channels, request.nodata, mask))
    merge = _merge(config, exact=spec.receptive_field().exact)
    return Plan(
        image=ImagePart(
            identity=image.identity(),
            axes=image.axes,
            level=image.level,
            shape=image.shape,
            dtype=str(image.dtype),
            channels=channels,
            nodata=request.nodata,
            nodata_mask=request.nodata_mask,
            series=image.view.series,
            stored_axes=image.view.axes if is_foreign(image.path) else None,
            resample=image.view.resample,
        ),
        model=ModelPart(hashes=request.hashes, spec=spec),
        grid=_grid(request, choice, merge),
        compute=ComputePart(
            device=choice.device,
            precision=choice.precision,
            backend=choice.backend,
            batch=choice.batch,
            threads=deciding_threads(request, choice),
            merge=merge,
            border=config.border,
            tta=config.tta,
            offset=affine.offset,
            scale=affine.scale,
            nodata_fill=config.nodata_fill,
            nodata_mean=_means(request, channels, mask) if config.nodata_fill == "mean" else (),
        ),
        select=SelectPart(roi=request.roi, skip_background=config.skip_background),
        output=OutputPart(
            probabilities=config.probabilities,
            confidence=config.confidence,
            levels=None if config.levels == "auto" else config.levels,
            chunk=config.chunk or CHUNK[spec.dims],
            compression=config.compression,
        ),
    )


def deciding_threads(request: Request, choice: Choice) -> int | None:
    """Of a call, where its last bits depend on them: the same for any number of workers, as bytes must be.

    OpenVINO's convolutions add in one order, whatever their threads (measured); torch's on CPUs do not, nor
    do means over a tile. What a foreign network does is not known.
    """
    spec = request.spec
    ordered = (
        choice.backend == "openvino" and spec.architecture not in MEASURED and spec.norm in ORDERED_NORMS
    )
    if choice.device != "cpu" or ordered:
        return None
    return choice.threads or machine_threads(request.config)


def _means(request: Request, channels: tuple[int, ...], mask: Image | None) -> tuple[float, ...]:
    found = request.image.means(channels, request.nodata, mask)
    return tuple(float(mean) for mean in np.nan_to_num(found))


def choose_block(request: Request, device: str) -> tuple[int, ...]:
    """Extent of a block on the network's axes: the setting, or one that suits image and device.

    Large blocks waste least margin and make few files; small images and regions of interest get at least
    some four blocks, so that progress shows and one is read while another is computed.
    """
    spec, config = request.spec, request.config
    shape, region = request.image.shape[-spec.dims :], request.roi[-spec.dims :]
    if config.block != "auto":
        return _checked("block", config.block, spec.dims, spec.receptive_field().multiple)
    unit = _fixed_tile(request) or spec.receptive_field().multiple
    side = max(unit, round_down(BLOCK[device, spec.dims], unit))
    smallest = max(SMALLEST_BLOCK[spec.dims], unit)
    while side // 2 >= smallest and side % (2 * unit) == 0 and _blocks(region, side) < FEW_BLOCKS:
        side //= 2
    return tuple(min(side, round_up(n, unit)) for n in shape)


def tile_choices(request: Request, block: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Tiles to choose from, largest first: the setting, or the block cut into equal parts.

    Those that are to be turned are squares in the plane of the last two axes.

    Raises:
        InputError: a tile that the network cannot take, or one that cannot be turned.
    """
    choices = _cuts(request, block)
    if request.config.tta != "turns":
        return choices
    return list(dict.fromkeys((*tile[:-2], min(tile[-2:]), min(tile[-2:])) for tile in choices))


def _cuts(request: Request, block: tuple[int, ...]) -> list[tuple[int, ...]]:
    spec, config = request.spec, request.config
    multiple = spec.receptive_field().multiple
    if config.tile != "auto":
        tile = _checked("tile", config.tile, spec.dims, multiple)
        if config.tta == "turns" and tile[-2] != tile[-1]:
            raise InputError(f"`tta` turns: `tile` {list(tile)} is not as high as wide; give a square one")
        return [tuple(min(t, b) for t, b in zip(tile, block, strict=True))]
    if fixed := _fixed_tile(request):
        return [(fixed,) * spec.dims]
    choices = [block]
    smallest = SMALLEST_BLOCK[spec.dims] // 2
    while any(t > smallest for t in choices[-1]):
        halved = tuple(round_up(ceil(t / 2), multiple) if t > smallest else t for t in choices[-1])
        if halved == choices[-1]:
            break
        choices.append(halved)
    return choices


def _merge(config: PredictConfig, *, exact: bool) -> Literal["crop", "blend"]:
    if config.merge == "auto":
        return "crop" if exact else "blend"
    return config.merge


def _grid(request: Request, choice: Choice, merge: str) -> GridPart:
    reach = request.spec.receptive_field()
    outer = (1,) * request.outer
    none = (0,) * request.outer
    block = choose_block(request, choice.device)
    before, after = reach.margins(choice.tile)
    step = choice.tile
    if merge == "blend":
        kept = 1 - request.config.overlap
        step = tuple(max(reach.multiple, round_down(int(t * kept), reach.multiple)) for t in choice.tile)
    return GridPart(
        block=outer + block,
        tile=outer + choice.tile,
        step=outer + step,
        before=none + before,
        after=none + after,
        multiple=outer + (reach.multiple,) * request.spec.dims,
    )


def _checked(name: str, value: tuple[int, ...], dims: int, multiple: int) -> tuple[int, ...]:
    extents = value * dims if len(value) == 1 else value
    if len(extents) != dims:
        raise InputError(f"`{name}` has {len(value)} numbers; give one, or one for each of the {dims} axes")
    for extent in extents:
        if extent % multiple:
            near = [n for n in (round_down(extent, multiple), round_up(extent, multiple)) if n]
            raise InputError(
                f"`{name}` {extent} is not a multiple of {multiple} (the network's poolings); use "
                f"{' or '.join(map(str, near))}"
            )
    return extents


def _fixed_tile(request: Request) -> int:
    """The tile of a network that takes one input size only, else 0."""
    reach = request.spec.receptive_field()
    if reach.fixed is None:
        return 0
    return round_down(reach.output_size(reach.fixed), reach.multiple)


def _blocks(region: tuple[tuple[int, int], ...], side: int) -> int:
    """How many blocks of ``side`` pixels the pixels of ``region`` fill."""
    return prod(ceil_div(stop - start, side) for start, stop in region)
