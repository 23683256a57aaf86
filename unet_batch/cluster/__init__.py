"""A Dask client from a description."""
