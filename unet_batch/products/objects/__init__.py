"""Connected objects and instances of a mask store, found block by block, equal for any block size."""
