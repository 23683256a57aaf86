"""Image + checkpoint -> Masks. ``unet_batch.predict(...)`` is ``unet_batch.predict.run.predict``."""

from unet_batch.verb import stand_for

stand_for(__name__, "unet_batch.predict.run:predict")
