"""exporting: a checkpoint leaves for other programs, with a check that they compute the same."""
