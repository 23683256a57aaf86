"""Training: labelled Zarr stores in, a checkpoint that prediction takes as it is out."""
