"""Masks to what people use: scores, files, polygons, objects, statistics, pictures, a report."""
