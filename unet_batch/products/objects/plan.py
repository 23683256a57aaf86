"""ObjectsPlan: all that decides objects and their table, frozen, as JSON. Runs nothing."""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import ValidationError

from unet_batch.config import Config
from unet_batch.errors import FormatError, InputError
from unet_batch.models.instance_rules import InstanceRules
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.store.image import Image
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import MasksLayout
from unet_batch.tiling import BlockGrid, Box

BORDER = "border"


class ObjectsPlan(Config):
    """Objects of one mask store. ``classes`` and ``border`` are numbers of classes or channels.

    ``block`` and ``shape`` have one entry per axis but the channels; the last ``dims`` are the objects'.
    """

    version: Literal[1] = 1
    masks: str
    image: str | None
    axes: str
    shape: tuple[int, ...]
    multilabel: bool
    classes: tuple[int, ...]
    names: tuple[str, ...]
    border: int | None
    reach: int
    connectivity: int
    dims: int
    smallest: int
    block: tuple[int, ...]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the plan's JSON."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    @property
    def planes(self) -> int:
        """How many sets of labels a block has: one where a pixel has one class, else one per class."""
        return len(self.classes) if self.multilabel else 1

    @cached_property
    def grid(self) -> BlockGrid:
        """The blocks."""
        return BlockGrid(self.shape, self.block)

    def seen(self, own: Box) -> Box:
        """A block's pixels and the one past its high sides, as far as the image goes."""
        return self._grown(own, 0, 1)

    def read(self, own: Box) -> Box:
        """What must be read to label ``seen``."""
        reach = 0 if self.border is None else self.reach
        return self._grown(own, reach, reach + 1)

    def _grown(self, own: Box, before: int, after: int) -> Box:
        outer = (0,) * (len(self.shape) - self.dims)
        grown = own.grow((*outer, *(before,) * self.dims), (*outer, *(after,) * self.dims))
        return grown.intersect(Box.of_shape(self.shape))


def make_plan(masks: Masks, image: Image | None, config: ObjectsConfig) -> ObjectsPlan:
    """The plan for ``masks``.

    Raises:
        InputError: classes that the masks do not have, dimensions or blocks that do not fit.
    """
    layout, rules = masks.layout, config.completed_by(_rules_of_network(masks))
    dims = _dims(masks, config)
    border = _border(layout, config)
    classes = _classes(masks, config, border)
    return ObjectsPlan(
        masks=Image.open(masks.path).identity(),
        image=None if image is None else image.identity(),
        axes=layout.axes,
        shape=layout.shape,
        multilabel=layout.kind == "multilabel",
        classes=classes,
        names=tuple(layout.names[c] for c in classes),
        border=border,
        reach=rules.reach,
        connectivity=min(rules.connectivity, dims),
        dims=dims,
        smallest=rules.smallest,
        block=_block(layout, config, dims),
    )


def _rules_of_network(masks: Masks) -> InstanceRules | None:
    """How the network that predicted ``masks`` wants its instances made, where it says so."""
    said: Any = masks.attributes
    for key in ("plan", "model", "spec", "objects"):
        said = said.get(key) if isinstance(said, Mapping) else None
    try:
        return None if said is None else InstanceRules.model_validate(said)
    except ValidationError as error:
        raise FormatError(
            f"{masks.path}: its plan says of objects what cannot be ({error.errors()[0]['msg']}); "
            "predict it anew"
        ) from None


def _dims(masks: Masks, config: ObjectsConfig) -> int:
    layout = masks.layout
    if config.dims == "auto":
        return layout.dims
    if config.dims == 3 and "z" not in layout.axes:
        raise InputError(f"{masks.path}: axes {layout.axes} have no z; set dims to 2")
    return config.dims


def _border(layout: MasksLayout, config: ObjectsConfig) -> int | None:
    if config.border is None:
        return None
    if config.border == "auto":
        others = len(layout.names) > (2 if layout.kind == "multiclass" else 1)
        return layout.names.index(BORDER) if BORDER in layout.names and others else None
    return _number(layout, config.border, "border")


def _classes(masks: Masks, config: ObjectsConfig, border: int | None) -> tuple[int, ...]:
    layout = masks.layout
    if config.classes is not None:
        wanted = tuple(_number(layout, name, "classes") for name in config.classes)
        if border in wanted:
            raise InputError(
                f"`classes`: {layout.names[border or 0]} is the border class; set border to null"
            )
        return tuple(sorted(set(wanted)))
    first = 0 if layout.kind == "multilabel" else 1
    found = tuple(c for c in range(first, len(layout.names)) if c != border)
    if not found:
        raise InputError(f"{masks.path}: has no class but the background; name `classes`")
    return found


def _number(layout: MasksLayout, name: str, key: str) -> int:
    if name not in layout.names:
        raise InputError(f"`{key}`: the masks have no class {name}; choose among {', '.join(layout.names)}")
    return layout.names.index(name)


def _block(layout: MasksLayout, config: ObjectsConfig, dims: int) -> tuple[int, ...]:
    outer = len(layout.shape) - dims
    if config.block == "auto":
        return (1,) * outer + layout.block[outer:]
    given: tuple[Any, ...] = config.block * dims if len(config.block) == 1 else config.block
    if len(given) != dims:
        raise InputError(
            f"`block`: {len(given)} numbers for objects of {dims} dimensions; give one or {dims}"
        )
    return (1,) * outer + given
