"""Outside engines to try ours against: they misbehave on request."""
