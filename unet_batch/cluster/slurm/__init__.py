"""SLURM: jobs described, submitted, listed and ended. Speaks to its programs in lists of words, never in shell."""
