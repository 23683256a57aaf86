"""Prediction: an image and a checkpoint become a mask store."""
