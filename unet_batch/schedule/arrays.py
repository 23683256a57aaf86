"""Dask arrays: from numpy, and from what is sliced like it."""

from typing import Any


def as_dask(array: Any, chunks: Any) -> Any:
    """A Dask array of ``array``: numpy's, which stays in memory, or what has shape, dtype and slices."""
    import dask.array as da  # noqa: PLC0415 - slow to import, for callers that have it already

    return da.from_array(array, chunks=chunks)
