"""What is away for a moment costs time, and nothing else."""

from datetime import timedelta

import pytest
from django.db import OperationalError, transaction

from clearing import finality, operations, pipeline, steps, windows
from clearing.pipeline import NotSent
from clearing.states import OperationStatus, WindowStatus
from settlement import accounts
from settlement.accounts import FundingInvalid
from settlement.models import SettlementInstruction
from tests.database import aside, refused, sql
from tests.factories import AT, A, B, circle, closed, funded, obligation, running


class Unsendable:
    """A message whose broker is away, as the result store reports it."""

    def apply_async(self) -> None:
        raise RuntimeError("Retry limit exceeded while trying to reconnect to the Celery result store")


def test_whatever_keeps_a_message_from_leaving_is_said_in_one_way() -> None:
    with pytest.raises(NotSent, match="Retry limit exceeded"):
        pipeline._publish(Unsendable())


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_an_undo_that_waits_too_long_for_a_lock_is_repeated_and_not_called_failed() -> None:
    circle(1000)
    operation = running(closed(obligation(A, B, 300)), applied=4)
    operations.condemn(operation.pk, RuntimeError("a passing cause"), at=AT)

    def hurried() -> None:
        sql("SET lock_timeout = '100ms'")
        operations.roll_back(operation.pk, at=AT)

    with transaction.atomic():
        sql("SELECT FROM settlement_settlementaccount FOR UPDATE")
        with pytest.raises(OperationalError):
            aside(hurried)
    assert steps.get(operation.pk).status == OperationStatus.IN_PROGRESS

    operations.roll_back(operation.pk, at=AT)

    undone = steps.get(operation.pk)
    assert (undone.status, undone.error_code) == (OperationStatus.ROLLED_BACK, "internal_error")
    assert undone.digest_before == undone.digest_after


@pytest.mark.django_db
def test_a_batch_that_was_tampered_with_between_commit_and_finality_moves_no_money() -> None:
    circle(1000)
    shut = closed(obligation(A, B, 300), min_netting_efficiency_bps=0)
    operation = running(shut, applied=4)
    finality.commit(operation.pk, at=AT)
    SettlementInstruction.objects.filter(batch_id=operation.pk, payer__kind="Agent").delete()

    with refused("instructions_equal_positions"):
        finality.settle(operation.pk, at=AT + timedelta(minutes=1))

    assert windows.get(shut.pk).status == WindowStatus.PROCESSING


@pytest.mark.django_db
@pytest.mark.parametrize(("amount_minor", "reference"), [(2**63, "big"), (1, "x" * 141), (1, "")])
def test_funding_that_does_not_fit_a_posting_is_refused_with_a_code(
    amount_minor: int, reference: str
) -> None:
    funded(A, USD=0)

    with pytest.raises(FundingInvalid):
        accounts.fund(A, "USD", amount_minor=amount_minor, reference=reference, at=AT)
