"""inference: the answers of a network for tiles, put together on its device; knows no store and no plan."""
