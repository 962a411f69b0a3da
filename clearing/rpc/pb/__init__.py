"""Compiled from proto/clearing.proto by ``make proto``; never edited."""
