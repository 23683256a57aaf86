"""Networks: what they are (spec), how they are built, stored, normalised, run and scored.

Imports nothing, so that reading a spec costs no torch.
"""
