"""Training: labelled Zarr stores become a checkpoint that prediction takes as it is."""
