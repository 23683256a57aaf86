"""Remade: what it takes to compute parts of a mask store again. Places and workers are the caller's.

A store may come from anybody: of what it records only the arithmetic is taken (region, channels, borders,
...), and the plan that follows from the caller's image and networks must be the store's own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError

from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.plans import as_json, differences, refuse_other
from unet_batch.errors import FormatError, InputError
from unet_batch.prediction.config import NodataMask, PredictConfig
from unet_batch.prediction.mask import INSIDE
from unet_batch.prediction.plan import Plan
from unet_batch.prediction.planning import make_plan
from unet_batch.prediction.request import Request
from unet_batch.prediction.run import settled
from unet_batch.prediction.status import plan_of
from unet_batch.store.masks import Masks
from unet_batch.store.origin import image_of, not_given

Models: TypeAlias = str | Path | Sequence[str | Path]

_RESOURCES = {*ExecutionConfig.model_fields, "device"}


def remade_request(
    masks: Masks, image: str | Path | None, model: Models, config: PredictConfig | None
) -> Request:
    """The request that ``masks`` were made by, if the caller's image and networks are its own.

    Args:
        masks: what is computed again.
        image: that they were made from; None takes the one around a store at IMAGE/labels/NAME.
        model: its checkpoint(s).
        config: where to compute, and settings that are to count instead of the recorded ones.

    Raises:
        InputError: no image or no checkpoint given.
        FormatError: recorded settings that cannot be read.
        PlanMismatchError: other images, networks or settings.
    """
    stored = plan_of(masks)
    place, models = source(masks, image, model)
    axes = stored.image.view_of(place).axes
    request = Request.open(place, models, _config(masks, stored, config), axes).as_begun(stored.image)
    plan = make_plan(request, settled(request, stored))
    cure = "name the image and the checkpoints that it was made from"
    refuse_other(masks.path, differences(as_json(plan), as_json(stored)), cure)
    return request


def source(masks: Masks, image: str | Path | None, model: Models) -> tuple[str, list[str]]:
    """The image and the checkpoints of ``masks``, by what the caller says alone; opens neither.

    Raises:
        InputError: no image or no checkpoint given; the recorded paths are shown.
    """
    models = [str(m) for m in ([model] if isinstance(model, str | Path) else model)]
    place = image_of(masks, image)
    if place is not None and models:
        return place, models
    options = {} if place else {"image": "--image "}
    options |= {} if models else {"models": "--model "}
    needed = " and ".join("the image" if key == "image" else "the checkpoints" for key in options)
    raise not_given(masks, f"to compute parts of it again {needed} must be given", options)


def _config(masks: Masks, stored: Plan, given: PredictConfig | None) -> PredictConfig:
    own = {} if given is None else {key: getattr(given, key) for key in given.model_fields_set}
    try:
        config = PredictConfig.model_validate({**_arithmetic(masks), **own})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        reason = f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
        raise FormatError(f"{masks.path}: its settings cannot be read ({reason}); predict it anew") from None
    mask = stored.image.nodata_mask
    if mask is not None and not mask.startswith(INSIDE) and not isinstance(config.nodata, NodataMask):
        raise InputError(
            f"{masks.path}: missing data were told by a mask, which is opened only if you name it; the "
            f"store says it was {mask[:200]!r}; if you trust that, give it with --set nodata.mask=PATH"
        )
    return config


def _arithmetic(masks: Masks) -> dict[str, Any]:
    """The recorded settings that name no place and no resource."""
    provenance = masks.attributes.get("provenance")
    said = provenance.get("settings") if isinstance(provenance, Mapping) else None
    known = said if isinstance(said, Mapping) else {}
    kept = {key: known[key] for key in PredictConfig.model_fields if key in known and key not in _RESOURCES}
    if isinstance(kept.get("nodata"), Mapping):
        del kept["nodata"]
    return kept
