"""One HTML page about a mask store: what came out, how fast, and how to do it again."""
