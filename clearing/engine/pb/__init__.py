"""Compiled from proto/obligation.proto by ``make proto``."""
