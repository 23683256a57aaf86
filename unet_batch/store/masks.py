"""Masks: what is written. An OME-Zarr 0.5 group of classes, labels per channel, or regression values.

Extra layers (probabilities, confidence) are sub-groups that open as images. What blocks mean, and which
are done, is the ledger's.

>>> masks = Masks.open("masks.zarr")
>>> masks.layout.names, masks.layout.fill
(('a', 'b', 'c'), 255)
>>> masks.read(Box((0, 0), (64, 32))).shape
(1, 64, 32)
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import google_crc32c
from numpy.typing import NDArray

from unet_batch.atomic import sweep
from unet_batch.errors import FormatError, UnetBatchError
from unet_batch.store.checksum import checksum
from unet_batch.store.containment import inside
from unet_batch.store.creation import Creation, remove
from unet_batch.store.georef import GeoReference
from unet_batch.store.group import read_node, refuse_occupied, write_group
from unet_batch.store.io_errors import is_local
from unet_batch.store.labels import levels_of, register, source_of, unregister
from unet_batch.store.layer import Layer
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks_layout import LABELS, MasksLayout
from unet_batch.store.presence import AGAIN, lost_blocks, watch
from unet_batch.tiling.box import Box

_OBJECTS_CURE = "remove the store and its table, and find the objects once more"

BlockArrays = Mapping[str, Sequence[NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Masks:
    """An open store. Blocks may be written from any number of threads and processes.

    ``attributes`` are the caller's (plan, provenance); they are kept as they are.
    """

    path: str
    layout: MasksLayout
    attributes: Mapping[str, Any]
    layers: Mapping[str, Layer]

    @classmethod
    def create(
        cls,
        path: str | Path,
        layout: MasksLayout,
        attributes: Mapping[str, Any],
        *,
        locked: bool = False,
        place: Path | None = None,
    ) -> "Masks":
        """A new store. Half-created ones are replaced; a creation that fails leaves nothing.

        ``locked``: the caller holds the store's lock already. ``place``: where the caller will move it to;
        its metadata are made for there, and registering it is left to the caller.

        At ``IMAGE/labels/NAME`` it is registered there and, unless told otherwise, has the image's levels.

        Raises:
            OutputError: something is there already, or the place cannot be written.
            InputError: a labels group that cannot take it.
            StoreBusyError: another driver is creating it.
        """
        where = str(path)
        if not locked and is_local(where):
            with Creation.begin(where) as new:
                try:
                    return cls.create(where, layout, attributes, locked=True)
                except BaseException:
                    new.discard()
                    with suppress(UnetBatchError, OSError):
                        unregister(Path(where))
                    raise
        refuse_occupied(where)
        source = source_of(str(place or path), layout)
        if source is not None and layout.levels is None:
            layout = replace(layout, levels=levels_of(str(place or path)))
        _fill(where, layout, attributes, source, listed=source is not None and place is None)
        return cls.open(where, writable=True)

    @staticmethod
    def discard(path: str | Path) -> None:
        """Remove a local store and its registration: for a driver that fails before its first block.

        It made the store and holds its lock.
        """
        if is_local(str(path)):
            remove(Path(path))
            with suppress(UnetBatchError, OSError):
                unregister(Path(path))

    @classmethod
    def open(
        cls, path: str | Path, *, writable: bool = False, watched: bool = True, encoders: int = 1
    ) -> "Masks":
        """The store at ``path``; ``encoders`` threads of this process encode what is written.

        Unless told otherwise, blocks that the ledger calls done, and whose file is gone, are damage.

        Raises:
            MissingError: no such path.
            FormatError: no mask store of this program, or one that cannot be used.
        """
        where = str(path)
        attributes = read_node(where, where)[1]
        layout = MasksLayout.parse(attributes.get("masks"), where)
        own = attributes.get("unet_batch")
        if attributes.get("masks_sum") not in (None, _sum(attributes.get("masks"))):
            raise FormatError(
                f"{where}: its layout is not as it was written; bring zarr.json back, or predict it anew"
            )
        if not isinstance(own, dict):
            raise FormatError(f"{where}: its plan is missing; predict it anew")
        layers = {
            name: Layer.open(_layer_of(where, name), layout.layer(name), writable=writable, encoders=encoders)
            for name in layout.layer_names
        }
        for layer in layers.values() if watched else ():
            cure = _OBJECTS_CURE if layout.kind == "instances" else AGAIN
            watch(where, layer.levels[: layer.written_levels], layer.layout.axes, cure)
        return cls(where, layout, own, layers)

    @property
    def georef(self) -> GeoReference | None:
        """Where the masks lie on the earth; None where this is not known."""
        return self.layout.georef

    @property
    def one_pass_levels(self) -> int:
        """How many levels a block writes its own shard of."""
        return self.layers[LABELS].written_levels

    def read(self, box: Box, level: int = 0, layer: str = LABELS) -> NDArray[Any]:
        """(C, *box.shape) of one layer; ``box`` is in the pixels of ``level``."""
        return self.layers[layer].read(box, level)

    def write_block(self, box: Box, arrays: BlockArrays) -> int:
        """Write a block to every layer and return the checksum of its pixels.

        ``arrays`` has, for each layer, one (C, *shape) array per one-pass level, level 0 first.

        Raises:
            OutputError: a full disk, no permission.
        """
        if set(arrays) != set(self.layers):
            raise ValueError(f"{self.path}: a block has layers {sorted(self.layers)}, got {sorted(arrays)}")
        for name, layer in self.layers.items():
            layer.write_block(box, arrays[name])
        return block_checksum(arrays)

    def block_checksum(self, box: Box) -> int:
        """The checksum of what is stored of a block, to compare with what ``write_block`` returned.

        Raises:
            DamageError: stored data that fails its own checksum.
        """
        return block_checksum({name: layer.read_block(box) for name, layer in self.layers.items()})

    def lost_blocks(self, ledger: Ledger) -> list[tuple[int, ...]]:
        """Grid indices of blocks that ``ledger`` calls done, and whose files are gone."""
        grid = self.layout.blocks
        return lost_blocks(
            [*self.layers.values()], ledger, lambda index: self.block_checksum(grid.box(index))
        )

    def finish(self) -> None:
        """Write the coarse levels from those that blocks wrote. May be interrupted and repeated."""
        for name, layer in self.layers.items():
            layer.fill_coarse(self.layout.halve(name))
        self.clean_scratch()

    def stamp(self, found: Mapping[str, Any]) -> None:
        """Keep ``found`` among the attributes."""
        attributes = read_node(self.path, self.path)[1]
        write_group(self.path, {**attributes, "unet_batch": {**attributes["unet_batch"], **found}})

    def clean_scratch(self) -> None:
        """Remove what killed writers left; for the driver, before any worker writes."""
        for name, layer in self.layers.items():
            layer.clean_scratch()
            sweep(Path(_layer_path(self.path, name)))


def block_checksum(arrays: BlockArrays) -> int:
    """CRC-32C over the pixels of a block: labels by level, then the other layers by name."""
    names = (LABELS, *sorted(set(arrays) - {LABELS}))
    return checksum(pixels for name in names for pixels in arrays[name])


def _fill(
    path: str, layout: MasksLayout, attributes: Mapping[str, Any], source: str | None, *, listed: bool
) -> None:
    for name in layout.layer_names:
        Layer.create(_layer_path(path, name), layout.layer(name))
        if name != LABELS:
            write_group(_layer_path(path, name), {**layout.place(name), "ome": layout.metadata(name, None)})
    if listed:
        register(Path(path))
    # The group comes last: a store is there only when it is whole.
    kept = json.loads(json.dumps(asdict(layout)))
    own = {"ome": layout.metadata(LABELS, source), "unet_batch": dict(attributes), "masks": kept}
    write_group(path, {**layout.place(LABELS), **own, "masks_sum": _sum(kept)})


def _sum(layout: object) -> int:
    return int(google_crc32c.value(json.dumps(layout, sort_keys=True).encode()))


def _layer_of(path: str, name: str) -> str:
    """The path of a layer of a store that is there, which may come from anybody."""
    return path if name == LABELS else inside(path, name)


def _layer_path(path: str, name: str) -> str:
    return path if name == LABELS else f"{path}/{name}"
