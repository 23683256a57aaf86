"""Foreign files to an Image in OME-Zarr. ``unet_batch.ingest(...)`` is ``unet_batch.ingest.run.ingest``."""

from unet_batch.verb import stand_for

stand_for(__name__, "unet_batch.ingest.run:ingest")
