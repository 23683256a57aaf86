"""A file that is there only when it is whole: written beside its place and renamed into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from unet_batch.atomic import atomic_file
from unet_batch.store.io_errors import writing


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write ``path`` through; after an error there is none, and an older one is left alone.

    Raises:
        OutputError: a full disk, no permission.
    """
    with writing(str(path)), atomic_file(path, fsync=False) as file:
        yield file
