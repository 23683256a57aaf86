"""`in_memory`: an array at hand as an Image, for whoever takes one."""

from typing import Any

import zarr
from numpy.typing import NDArray
from zarr.storage import MemoryStore

from unet_batch.store.image import Image

_CHUNK = 1024  # pixels an axis


def in_memory(array: NDArray[Any], axes: str) -> Image:
    """The image of ``array``, copied; ``axes`` are among t c z y x in this order.

    Raises:
        FormatError: pixels that are no numbers, or none.
        InputError: axes that do not fit.
    """
    store = MemoryStore()
    chunks = tuple(
        max(1, min(n, _CHUNK if axis in "yx" else 1)) for n, axis in zip(array.shape, axes, strict=True)
    )
    zarr.create_array(store, data=array, chunks=chunks, compressors=None, dimension_names=tuple(axes))
    return Image.open(store)
