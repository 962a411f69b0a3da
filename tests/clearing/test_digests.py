"""A digest covers what its step and the later ones write; a step is begun and ended by PostgreSQL, once."""

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import Model
from pytest_django.fixtures import Settings

from clearing import digests, steps
from clearing.checkpoints import STEPS
from clearing.models import AtomicOperation, MultilateralPosition
from clearing.models.netting import OfCurrency
from clearing.states import CheckpointStatus, NettingMode
from clearing.steps import OutOfTurn
from settlement.models import Execution, Reservation, RiskVerdict, SettlementInstruction
from tests.database import refused, sql
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
    of_runs = [
        model for model in apps.get_app_config("clearing").get_models() if issubclass(model, OfCurrency)
    ]
    of_batch = [SettlementInstruction, Reservation, Execution, RiskVerdict]
    models: list[type[Model]] = [*of_runs, *of_batch]

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


PAIR = {
    "clearing_grosspair": "payer_id, payee_id, obligations_count, gross_minor",
    "clearing_residualpair": "payer_id, payee_id, left_minor",
    "clearing_bilateralposition": (
        "participant_a_id, participant_b_id, obligations_count, gross_debit_minor, gross_credit_minor,"
        " net_minor, direction, netting_ratio_bps"
    ),
}
VALUES = {
    "clearing_grosspair": "{}, {}, 1, 5",
    "clearing_residualpair": "{}, {}, 5",
    "clearing_bilateralposition": "{}, {}, 1, 5, 0, 5, 'Debit', 0",
}


def write_pair(table: str, operation: AtomicOperation, payer: int, payee: int, currency_id: int) -> None:
    values = VALUES[table].format(payer, payee)
    sql(
        f"INSERT INTO {table} (operation_id, currency_id, {PAIR[table]}) VALUES (%s, %s, {values})",
        operation.pk,
        currency_id,
    )


@pytest.mark.parametrize("table", PAIR)
def test_postgresql_refuses_a_pair_without_a_frozen_set(table: str) -> None:
    payer, payee, _ = circle(10_000)
    operation = running(closed(*story(DAY)), applied=2)

    with refused("pairs_of_a_frozen_set"):
        write_pair(table, operation, payer.pk, payee.pk, 756)


@pytest.mark.parametrize("table", ["clearing_residualpair", "clearing_bilateralposition"])
def test_postgresql_refuses_a_pair_whose_party_is_no_participant(table: str) -> None:
    payer, *_ = circle(10_000)
    operation = running(closed(*story(DAY)), applied=2)

    with refused("pairs_of_participants"):
        write_pair(table, operation, payer.pk, 2**31 - 1, 840)


def test_a_participant_of_a_pair_is_not_deleted_even_if_nothing_is_left_to_pay() -> None:
    owes, owed, _ = circle(10_000)
    even = story(f"{owes.code} owes {owed.code} 500 USD\n{owed.code} owes {owes.code} 500 USD")
    operation = running(closed(*even), applied=3)

    held = MultilateralPosition.objects.filter(operation=operation).values_list("participant_id", flat=True)

    assert set(held) == {owes.pk, owed.pk}, "their rows have a foreign key, those of the pair have none"
