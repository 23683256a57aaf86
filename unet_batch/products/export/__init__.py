"""Mask stores as files that other programs open: tiled TIFFs and polygons, streamed by blocks.

``unet_batch.export(...)`` is ``unet_batch.products.export.run.export``.
"""
