"""Source: what rasters are made of, a view of masks or of an image. Both have the same properties."""

from typing import TypeAlias

from unet_batch.products.export.image_view import ImageView
from unet_batch.products.export.view import View

Source: TypeAlias = View | ImageView
