"""What comes in over NATS: obligations, taken as at every other door."""
