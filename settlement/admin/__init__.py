"""Admin pages of participants, money and instructions."""

from settlement.admin import ledger, participants, rails

__all__ = ["ledger", "participants", "rails"]
