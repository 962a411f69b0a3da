"""Compiled from proto/settlement.proto by ``make proto``; never edited."""
