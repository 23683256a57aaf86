"""ShardFile: one shard of an array on disk, written beside its place and renamed into it."""

import os
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore, StorePath

from unet_batch import unsynced
from unet_batch.store.containment import inside
from unet_batch.store.pipeline import has_zarrs, opened
from unet_batch.store.strips import Strips

SCRATCH = ".partial"
ZARR_SCRATCH = re.compile(r".+\.[0-9a-f]{32}\.partial")
"""How zarr names a file that it writes beside its place."""


def replace(
    root: Path,
    target: Path,
    data: NDArray[Any],
    metadata: dict[str, Any],
    encoders: int = 1,
    *,
    needed: bool = False,
) -> None:
    """Put ``data`` in the shard ``target`` of the array ``root`` with this metadata.

    ``encoders`` threads of the process encode chunks of all its shards; the bytes do not depend on them. A
    reader sees the old shard or the new one, never a part, also after a kill. A shard of nothing but fill
    has no file. Where the old one is ``needed`` until then, the new one is on the disk before it comes.
    """
    # zarrs writes in place and zarr-python renames: encoding a one-shard array beside the real one and
    # renaming its only file is safe with either, and never reads what a killed writer left.
    scratch = root / SCRATCH / f"{os.getpid()}-{threading.get_ident()}-{uuid.uuid4().hex}"
    for folder in (target.parent, scratch):  # of a foreign store these may be links
        inside(str(root), str(folder.relative_to(root)))
    try:
        file = _encoded(scratch, data, metadata, encoders)
        if file.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            if needed:
                unsynced.sync_now(file)
            file.replace(target)
        else:
            target.unlink(missing_ok=True)
        unsynced.add(target, within=root)
    finally:
        remove_scratch(scratch)


def remove_scratch(folder: Path) -> None:
    """Remove what writers left in ``folder``, and it; a link is removed, not followed."""
    if folder.is_symlink():  # never followed: what it leads to is not ours
        folder.unlink()
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            remove_scratch(entry)
        else:
            entry.unlink(missing_ok=True)
    folder.rmdir()


def _encoded(scratch: Path, data: NDArray[Any], metadata: dict[str, Any], encoders: int) -> Path:
    """The shard of ``data`` as a file, which is not there where it is nothing but fill."""
    file = scratch / ".".join("0" * data.ndim)
    strips = Strips.of(data.shape, metadata, encoders if has_zarrs() else 1)  # zarr-python has another order
    if strips is None:
        _one_shard(scratch, data.shape, metadata)[...] = data
        return file
    scratch.mkdir(parents=True)
    parts = [
        _pool(encoders).submit(_encoded, scratch / str(n), data[cut], strips.metadata(n), 1)
        for n, cut in enumerate(strips.cuts)
    ]
    strips.join([part.result() for part in parts], file)
    return file


@cache
def _pool(encoders: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(encoders, "encode")


def _one_shard(scratch: Path, shape: tuple[int, ...], metadata: dict[str, Any]) -> zarr.Array[Any]:
    separator = {"name": "v2", "configuration": {"separator": "."}}
    own = {**metadata, "shape": shape, "chunk_key_encoding": separator, "attributes": {}}
    store = StorePath(LocalStore(scratch))
    # One thread: with more, zarrs orders the chunks of a shard as they come, and equal pixels give
    # unequal files (measured: 11 of 12). Strips are encoded beside each other and joined in order instead.
    return opened(lambda: zarr.Array.from_dict(store, own), fast=True, threads=1)
