"""What a network learns from: labelled stores, what of them is drawn, and reading it ahead of the steps."""
