"""Ingestion: foreign files, scenes and annotations become images in OME-Zarr."""
