"""A digest covers what its step and the later ones write; a step is begun and ended by PostgreSQL, once."""

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from clearing import digests, steps
from clearing.checkpoints import STEPS
from clearing.models.netting import OfCurrency
from clearing.states import CheckpointStatus, NettingMode
from clearing.steps import OutOfTurn
from settlement.models import Execution, Reservation, RiskVerdict, SettlementInstruction
from tests.database import sql
from tests.factories import AT, DAY, circle, closed, running, story

pytestmark = pytest.mark.django_db

NAMES = [step.NAME for step in STEPS]


WRITTEN = {  # by the step at this position
    2: ("clearing_frozenset", "clearing_grosspair"),
    3: (
        "clearing_nettingresult",
        "clearing_residualpair",
        "clearing_multilateralposition",
        "clearing_bilateralposition",
    ),
    4: (
        "settlement_settlementinstruction",
        "settlement_reservation",
        "settlement_execution",
        "settlement_riskverdict",
    ),
}


@pytest.mark.parametrize(("step", "table"), [(step, table) for step in WRITTEN for table in WRITTEN[step]])
def test_a_digest_covers_what_its_step_and_the_later_ones_write(
    step: int, table: str, settings: Settings
) -> None:
    settings.SETTLEMENT_ENGINE_URL = "grpc://127.0.0.1:1"
    settings.RISK_ENGINE_URL = "http://127.0.0.1:1"
    circle(10_000)
    operation = running(closed(*story(DAY), netting_mode=NettingMode.CONSERVATIVE), applied=4)
    before = [digests.of(operation.pk, operation.window_id, position=since) for since in (1, 2, 3, 4)]

    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})")
        assert cursor.rowcount == 1

    after = [digests.of(operation.pk, operation.window_id, position=since) for since in (1, 2, 3, 4)]
    assert [old != new for old, new in zip(before, after, strict=True)] == [
        since <= step for since in (1, 2, 3, 4)
    ]


def test_the_digest_reads_every_table_that_a_run_writes() -> None:
    of_batch = [SettlementInstruction, Reservation, Execution, RiskVerdict]
    models = [*OfCurrency.__subclasses__(), *of_batch]

    assert {model._meta.db_table for model in models} == {
        table for step in WRITTEN for table in WRITTEN[step]
    }


def test_of_two_that_end_a_step_one_moves_it() -> None:
    operation = running(closed(), applied=1)
    end = "SELECT end_step(%s, 'Applied', 'Undone', now(), NULL, NULL)"
    key = steps.find_checkpoint(operation.pk, NAMES[0]).pk

    assert [sql(end, key), sql(end, key)] == [[(True,)], [(False,)]]


def test_a_step_out_of_turn_is_not_begun() -> None:
    operation = running(closed(), applied=1)

    with pytest.raises(OutOfTurn):
        steps.begin(operation.pk, NAMES[2], at=AT)

    found = steps.find_checkpoint(operation.pk, NAMES[2])
    assert (found.status, operation.children.count()) == (CheckpointStatus.PLANNED, 0)
