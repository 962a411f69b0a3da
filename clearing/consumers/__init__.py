"""What comes in by itself: obligations over NATS, taken as at every other door; an engine's confirmations."""
