"""importing: networks of other programs and libraries become checkpoints of this one, measured on the way."""
