"""Turn net positions into settlement instructions, and set the payers' funds aside for them."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

import numpy as np

from clearing.models import AtomicOperation, MultilateralPosition
from netting import transfers
from netting.model import Positions
from settlement import accounts, instructions, participants
from settlement.instructions import Leg
from settlement.states import InstructionType

NAME = "instructions_generated"


def apply(operation: AtomicOperation, *, at: datetime) -> None:
    """
    Issue one instruction per non-zero position against the agent, and reserve what payers owe.

    With the reservation taken here, nothing after the point of no return can fail for lack of funds.

    Raises:
        AccountMissing, InsufficientFunds: nothing of the batch is kept.
    """
    kind = InstructionType.EMERGENCY if operation.window.emergency_mode else InstructionType.NET
    instructions.issue(operation.pk, list(_legs(operation)), instruction_type=kind)
    accounts.reserve(operation.pk)


def undo(operation: AtomicOperation, *, at: datetime) -> None:
    """Give the reservations back and withdraw the batch; none of it was sent."""
    accounts.release(operation.pk)
    instructions.withdraw(operation.pk)


def _legs(operation: AtomicOperation) -> Iterator[Leg]:
    """Yield the legs currency by currency, payers first."""
    agent_id = participants.agent().pk
    rows: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    found = MultilateralPosition.objects.filter(operation=operation).order_by("currency_id")
    for currency_id, *position in found.values_list(
        "currency_id", "participant_id", "debit_minor", "credit_minor"
    ):
        rows[currency_id].append((position[0], position[1], position[2]))
    for currency_id, positions in rows.items():
        columns = np.array(positions, np.int64)
        flows = transfers.agent(Positions.of(columns[:, 0], columns[:, 1], columns[:, 2]))
        legs = zip(flows.payers.tolist(), flows.payees.tolist(), flows.amounts.tolist(), strict=True)
        for payer, payee, amount in legs:
            yield Leg(
                currency_id,
                agent_id if payer == transfers.AGENT else payer,
                agent_id if payee == transfers.AGENT else payee,
                amount,
            )
