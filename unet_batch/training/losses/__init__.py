"""What training makes small: losses as values of global sums, so that no number of ranks shows in them."""
