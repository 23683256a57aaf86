"""A file that is there only when it is whole: written beside its place and renamed into it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from unet_batch.store.io_errors import writing


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write ``path`` through; after an error there is none, and an older one is left alone.

    Raises:
        OutputError: a full disk, no permission.
    """
    scratch = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    with writing(str(path)):
        try:
            with scratch.open("wb") as file:
                yield file
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
