"""A batch as it was read becomes what the network sees: one warp, intensity, normalisation; on the device."""
