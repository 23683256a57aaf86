"""Engine: blocks go through workers into a ledger, the same way for every verb that works by blocks."""
