"""Turn the netting's outcome into settlement instructions, and set the payers' funds aside for them."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

import numpy as np
from django.conf import settings

from clearing.models import AtomicOperation, ClearingWindow, MultilateralPosition, ResidualPair
from clearing.states import NettingMode, Transfers
from netting import transfers
from netting.model import Positions
from settlement import accounts, instructions, participants
from settlement.instructions import Leg
from settlement.rails import executions, risk
from settlement.states import InstructionType

NAME = "instructions_generated"


def apply(operation: AtomicOperation, *, at: datetime) -> None:
    """
    Issue the batch and reserve what it takes from each payer, net of what it brings.

    In multilateral mode net positions move, through the agent or directly; in the other modes what is
    left of each pair. With the reservation taken here, nothing after the point of no return can fail
    for lack of funds: what the batch takes as a whole or, where an outside engine executes instruction by
    instruction, all that is paid, whatever comes back.

    Raises:
        AccountMissing, InsufficientFunds: nothing of the batch is kept.
    """
    window = operation.window
    multilateral = window.netting_mode == NettingMode.MULTILATERAL
    legs = _of_positions(operation) if multilateral else _of_residual(operation)
    instructions.issue(operation.pk, list(legs), instruction_type=_type(window))
    is_outside = bool(settings.SETTLEMENT_ENGINE_URL)
    if is_outside:
        executions.plan(operation.pk, at=at)
    if settings.RISK_ENGINE_URL:
        risk.plan(operation.pk)
    accounts.reserve(operation.pk, gross=is_outside)


def undo(operation: AtomicOperation, *, at: datetime) -> None:
    """Give the reservations back and withdraw the batch; none of it was sent."""
    accounts.release(operation.pk)
    instructions.withdraw(operation.pk)


def _type(window: ClearingWindow) -> InstructionType:
    if window.emergency_mode:
        return InstructionType.EMERGENCY
    return InstructionType.GROSS if window.netting_mode == NettingMode.GROSS else InstructionType.NET


def _of_residual(operation: AtomicOperation) -> Iterator[Leg]:
    """Yield a leg for what is left of each pair."""
    rows = ResidualPair.objects.filter(operation=operation).order_by("currency_id", "payer_id", "payee_id")
    for row in rows.values_list("currency_id", "payer_id", "payee_id", "left_minor").iterator():
        yield Leg(*row)


def _of_positions(operation: AtomicOperation) -> Iterator[Leg]:
    """Yield the legs of the net positions, currency by currency; through the agent, payers come first."""
    draw = transfers.direct if operation.window.transfers == Transfers.DIRECT else transfers.agent
    agent_id = participants.agent().pk
    rows: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    found = MultilateralPosition.objects.filter(operation=operation).order_by("currency_id")
    columns = ("currency_id", "participant_id", "debit_minor", "credit_minor")
    for currency_id, participant_id, debit, credit in found.values_list(*columns):
        rows[currency_id].append((participant_id, debit, credit))
    for currency_id, positions in rows.items():
        table = np.array(positions, np.int64)
        flows = draw(Positions.of(table[:, 0], table[:, 1], table[:, 2]))
        legs = zip(flows.payers.tolist(), flows.payees.tolist(), flows.amounts.tolist(), strict=True)
        for payer, payee, amount in legs:
            yield Leg(
                currency_id,
                agent_id if payer == transfers.AGENT else payer,
                agent_id if payee == transfers.AGENT else payee,
                amount,
            )
