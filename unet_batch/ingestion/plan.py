"""IngestPlan: all that decides what an ingest writes, frozen, as JSON: source, settings, layout."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from unet_batch.config import Config
from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.worker_pool import Workers
from unet_batch.formats.opening import file_of
from unet_batch.formats.raster import is_remote
from unet_batch.store.image_writer import ImageLayout
from unet_batch.store.masks_layout import MasksLayout

_ELSEWHERE = {*ExecutionConfig.model_fields, "cache_mb"}  # none of it changes what is written
_MOST_WORKERS = 8


class Source(Config):
    """A file by its identity: place, bytes and when it was changed; a remote one has a place alone."""

    path: str
    size: int | None = None
    modified_ns: int | None = None

    @classmethod
    def of(cls, path: str | Path) -> "Source":
        """The identity of a file that is there."""
        if is_remote(path):
            return cls(path=str(path))
        file = file_of(path)
        seen, inside = file.stat(), str(path).removeprefix(str(file))
        return cls(path=f"{file.resolve()}{inside}", size=seen.st_size, modified_ns=seen.st_mtime_ns)


class IngestPlan(Config):
    """What is written. ``image`` is the identity of the image whose grid annotations are painted on.

    ``more``: further files, whose channels follow those of ``source``.
    """

    version: Literal[1] = 1
    source: Source
    more: tuple[Source, ...] = ()
    image: str | None = None
    settings: dict[str, Any]
    layout: dict[str, Any]


def make_plan(
    source: str | Path,
    config: Config,
    layout: ImageLayout | MasksLayout,
    image: str | None = None,
    more: Sequence[str | Path] = (),
) -> IngestPlan:
    """The plan to write the file ``source``, and ``more``, as ``layout`` says."""
    return IngestPlan(
        source=Source.of(source),
        more=tuple(map(Source.of, more)),
        image=image,
        settings=config.model_dump(mode="json", exclude=_ELSEWHERE),
        layout=json.loads(json.dumps(asdict(layout), default=str)),
    )


def threads(config: ExecutionConfig) -> Workers:
    """Threads of this process, for work that shares what it has read; a named scheduler's workers instead."""
    here = min(len(os.sched_getaffinity(0)), _MOST_WORKERS) if config.workers == "auto" else config.workers
    return Workers(config, threads_here=here)
