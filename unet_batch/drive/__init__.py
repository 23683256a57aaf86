"""drive: blocks through workers into a ledger, the same for every verb that works by blocks."""
