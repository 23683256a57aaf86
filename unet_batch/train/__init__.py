"""Training: labelled Zarr stores in, a checkpoint that prediction takes as it is out.

``unet_batch.train(...)`` is ``unet_batch.train.run.train``.
"""

from unet_batch.verb import stand_for

stand_for(__name__, "unet_batch.train.run:train")
