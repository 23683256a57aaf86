"""Tiled TIFFs of a mask: tiles encoded block by block, then joined in the order that a format asks for."""
