"""Tables of the settlement room."""

from settlement.models.instructions import Reservation, SettlementInstruction
from settlement.models.ledger import LedgerEntry, Posting, SettlementAccount
from settlement.models.participants import Currency, Participant
from settlement.models.rails import Execution, RiskVerdict

__all__ = [
    "Currency",
    "Execution",
    "LedgerEntry",
    "Participant",
    "Posting",
    "Reservation",
    "RiskVerdict",
    "SettlementAccount",
    "SettlementInstruction",
]
