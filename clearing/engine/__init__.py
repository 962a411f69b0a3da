"""The obligation engine, where one is configured: what belongs in a window, and what it nets to."""
