"""A committed run, settled through an outside engine as the sweep would, and what must be true at the end."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from clearing import finality, windows
from clearing.models import AtomicOperation
from clearing.states import WindowStatus
from settlement.models import Execution, LedgerEntry, Reservation, SettlementInstruction
from settlement.states import ExecutionStatus, InstructionStatus
from tests.engines.conftest import Engine
from tests.factories import AT as BEGUN_AT
from tests.factories import A, B, C, balances, circle, closed, running, story

DAY = """
    BANK-A owes BANK-B 500 USD
    BANK-C owes BANK-B 300 USD
    BANK-C owes BANK-A 400 JPY
"""
AT = BEGUN_AT + timedelta(minutes=10)
PATIENCE_SECONDS = 20.0


def committed(text: str = DAY, **fields: Any) -> AtomicOperation:
    """Clear a window up to its commit."""
    circle(1000)
    operation = running(closed(*story(text), **fields), applied=4)
    finality.commit(operation.pk, at=AT)
    return operation


def settle(
    operation: AtomicOperation, *, at: datetime = AT, until: Callable[[], bool] | None = None
) -> datetime:
    """Settle as the sweep would, each time when it is due, until the window is Completed; the last moment."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        due_at = finality.settle(operation.pk, at=at)
        if until() if until else status(operation) == WindowStatus.COMPLETED:
            return at
        assert time.monotonic() < deadline, list(Execution.objects.values())
        assert due_at is not None, list(Execution.objects.values())
        at = max(due_at, at)


def status(operation: AtomicOperation) -> str:
    return windows.get(operation.window_id).status


def one_in_currency(mode: str, currency: str = "JPY") -> Callable[[str], str]:
    """Do *mode* to the orders of one currency."""
    return lambda order: mode if order.endswith(currency) else ""


def assert_settled_once(engine: Engine, operation: AtomicOperation) -> None:
    """Each instruction executed once at the engine, posted once here, and nothing left behind."""
    batch = SettlementInstruction.objects.filter(batch_id=operation.pk)
    keys = {str(key) for key in batch.values_list("pk", flat=True)}
    assert engine.count("executed") == dict.fromkeys(keys, 1)
    assert set(batch.values_list("status", flat=True)) == {InstructionStatus.COMPLETED}
    assert set(Execution.objects.values_list("status", flat=True)) == {ExecutionStatus.COMPLETED}
    assert [balances(code)["USD"] for code in (A, B, C, "AGENT")] == [
        (500, 0),
        (1800, 0),
        (700, 0),
        (0, 0),
    ]
    assert [balances(code)["JPY"] for code in (A, C, "AGENT")] == [(1400, 0), (600, 0), (0, 0)]
    assert not Reservation.objects.exists()
    executed = sum(row.amount_minor for row in batch)
    credits_ = LedgerEntry.objects.filter(posting__reference=str(operation.pk), amount_minor__gt=0)
    assert sum(entry.amount_minor for entry in credits_) == executed


def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, list(Execution.objects.values())
        time.sleep(0.02)
