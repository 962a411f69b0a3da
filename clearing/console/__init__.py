"""The operations console: the state now, on one page."""
