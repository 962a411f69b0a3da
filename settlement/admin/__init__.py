"""Admin pages of participants, money and instructions."""

from settlement.admin import ledger, participants

__all__ = ["ledger", "participants"]
