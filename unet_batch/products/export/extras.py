"""What to say where a library is missing that only some installations have."""

from collections.abc import Iterator
from contextlib import contextmanager

from unet_batch.errors import InputError


@contextmanager
def needed(extra: str, purpose: str) -> Iterator[None]:
    """Around imports: a missing module becomes one line that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"{purpose} needs {error.name}; run: pip install 'unet-batch[{extra}]'") from None
