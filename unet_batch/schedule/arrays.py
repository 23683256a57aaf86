"""Dask arrays: from numpy and back."""

from typing import Any

from numpy.typing import NDArray


def as_dask(array: NDArray[Any], chunks: Any) -> Any:
    """A Dask array of ``array``, which stays in memory."""
    import dask.array as da  # noqa: PLC0415 - slow to import, for callers that have it already

    return da.from_array(array, chunks=chunks)
