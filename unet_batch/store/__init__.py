"""Arrays on disk: images that are read, masks that are written, and the ledger of what is done."""
