"""mosaic: many scenes on one grid become one image, block by block."""
