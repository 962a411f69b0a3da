"""Tables of the settlement room."""

from settlement.models.instructions import Reservation, SettlementInstruction
from settlement.models.ledger import LedgerEntry, Posting, SettlementAccount
from settlement.models.participants import Currency, Participant

__all__ = [
    "Currency",
    "LedgerEntry",
    "Participant",
    "Posting",
    "Reservation",
    "SettlementAccount",
    "SettlementInstruction",
]
