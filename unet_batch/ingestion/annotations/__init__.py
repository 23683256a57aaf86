"""Drawn annotations (GeoJSON, QuPath, GeoPackage) become a store of labels on the grid of an image."""
