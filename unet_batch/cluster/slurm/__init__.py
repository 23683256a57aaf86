"""SLURM: jobs described, submitted, listed and ended. Its programs get lists of words, never shell."""
