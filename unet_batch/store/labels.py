"""Masks inside an image: IMAGE/labels/NAME, registered in the image's labels group. Metadata only."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unet_batch.errors import InputError, UnetBatchError
from unet_batch.store import ome
from unet_batch.store.group import read_node, write_group
from unet_batch.store.io_errors import is_local
from unet_batch.store.masks_layout import MasksLayout

_SOURCE = "../../"


def source_of(path: str, layout: MasksLayout) -> str | None:
    """The image that masks at ``path`` belong to, relative to them, or None for a store of its own.

    Raises:
        InputError: an image that cannot hold labels of this kind.
    """
    image = enclosing_image(path)
    if image is None:
        return None
    if not (image / "zarr.json").exists():
        raise InputError(f"{image}: OME-Zarr 0.4 cannot hold labels of version 0.5; give another output")
    kind, attributes = read_node(image, str(image))
    if kind != "group" or ome.parse(attributes, str(image)) is None:
        raise InputError(f"{image}: no OME-Zarr image, so it has no labels; give another output")
    if layout.kind == "regression":
        raise InputError(f"{path}: regression values are no labels; give an output outside the image")
    return _SOURCE


def enclosing_image(path: str | Path) -> Path | None:
    """IMAGE of a store at IMAGE/labels/NAME, by that path alone; None elsewhere."""
    folder = Path(path).absolute()
    image = folder.parent.parent
    in_labels = is_local(str(path)) and folder.parent.name == "labels"
    return image if in_labels and _is_zarr(image) else None


def levels_of(path: str) -> int:
    """How many levels the image has that masks at ``path`` belong to; OME-Zarr asks for as many of labels."""
    image = Path(path).absolute().parent.parent
    found = ome.parse(read_node(image, str(image))[1], str(image))
    assert found is not None, "source_of has looked"
    return len(found.datasets)


def listed(image: str) -> tuple[str, ...]:
    """Names of the labels that the image at ``image`` lists; none where it has none that can be read."""
    group = Path(image) / "labels"
    if not is_local(image) or not _is_zarr(group):
        return ()
    try:
        attributes = read_node(group, str(group))[1]
    except UnetBatchError:
        return ()
    entry = attributes.get("ome", attributes)
    names = entry.get("labels") if isinstance(entry, dict) else None
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def register(path: Path) -> None:
    """List the masks at ``path`` in the labels group above them; others that are listed stay."""
    group = path.parent
    with _exclusive(group):
        attributes = read_node(group, str(group))[1] if (group / "zarr.json").exists() else {}
        entry = attributes.get("ome")
        known = dict(entry) if isinstance(entry, dict) else {}
        names = [name for name in known.get("labels") or [] if name != path.name]
        attributes["ome"] = {**known, "version": ome.VERSION, "labels": [*names, path.name]}
        write_group(str(group), attributes)


def unregister(path: Path) -> None:
    """Take the masks at ``path`` off that list; a labels group that was there for them alone goes too."""
    group = path.parent
    if group.name != "labels" or not (group / "zarr.json").exists():
        return
    with _exclusive(group):
        attributes = read_node(group, str(group))[1]
        names = attributes.get("ome", {}).get("labels") or []
        if path.name not in names:
            return
        left = [name for name in names if name != path.name]
        if left or len(list(group.iterdir())) > 1:
            write_group(str(group), {**attributes, "ome": {**attributes["ome"], "labels": left}})
        else:
            (group / "zarr.json").unlink()
            group.rmdir()


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Two runs may register at once. Where a folder cannot be locked (NFS), the rename still keeps the
        # file whole.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_zarr(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("zarr.json", ".zgroup", ".zarray"))
