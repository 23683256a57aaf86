"""Polygons of a mask: traced block by block on the pixel grid, stitched exactly, simplified without gaps."""
