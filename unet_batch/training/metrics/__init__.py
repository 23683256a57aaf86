"""Scores of predictions against known labels, as sums that add up over boxes. No torch, no stores."""
