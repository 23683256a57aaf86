"""Label images that people have: masks of 0 and 255, and masks whose colours mean classes."""
