"""Metadata of an array that are known without looking at them: assumed, or written anew where damaged."""

import json
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore, MemoryStore, StorePath

from unet_batch.atomic import atomic_path
from unet_batch.store.arrays import Array
from unet_batch.store.io_errors import writing
from unet_batch.store.layout import ArrayLayout
from unet_batch.store.pipeline import default_threads, opened


def restore_metadata(path: Path, layout: ArrayLayout) -> None:
    """Write the metadata of the array at ``path`` anew, as ``create_array`` would; its shards stay."""
    with writing(str(path)):
        path.mkdir(parents=True, exist_ok=True)
        with atomic_path(path / "zarr.json") as scratch:
            scratch.write_text(json.dumps(_metadata_of(layout)), encoding="utf-8")


def assumed_array(path: Path, layout: ArrayLayout, *, read_only: bool = True) -> Array:
    """The array at ``path`` as if its metadata were those of ``layout``, whatever they are."""
    store = StorePath(LocalStore(path, read_only=read_only))
    zarray = opened(
        lambda: zarr.Array.from_dict(store, _metadata_of(layout)), fast=True, threads=default_threads()
    )
    return Array(path, "", default_threads(), zarray, str(path))


def _metadata_of(layout: ArrayLayout) -> dict[str, Any]:
    made = zarr.create_array(MemoryStore(), **layout.as_zarr())
    found: dict[str, Any] = made.metadata.to_dict()
    return found
