"""Masks to what people use. So far: scores against known labels."""
