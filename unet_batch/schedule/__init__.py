"""Blocks to workers: which block is tried where and when. Knows nothing of images or networks."""
