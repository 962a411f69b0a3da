"""What PostgreSQL keeps whatever is typed: no table emptied, nothing of a final run changed or deleted."""

import pytest
from django.db import connection

from clearing import operations, partitions, windows
from clearing.checkpoints import STEPS
from tests.database import refused, sql
from tests.factories import AT, DAY, circle, closed, obligation, running, settled, story, window

pytestmark = pytest.mark.django_db

COMPUTED = (
    "clearing_frozenset",
    "clearing_grosspair",
    "clearing_nettingresult",
    "clearing_residualpair",
    "clearing_multilateralposition",
    "clearing_bilateralposition",
)
KEPT = sorted(
    {
        "settlement_settlementaccount",
        "settlement_posting",
        "settlement_ledgerentry",
        "settlement_settlementinstruction",
        "settlement_reservation",
        "clearing_clearingwindow",
        "clearing_atomicoperation",
        "clearing_checkpoint",
        "clearing_windowevent",
        "clearing_obligation",
        "clearing_obligationkey",
        "clearing_setaside",
        "clearing_rollon",
        *COMPUTED,
    }
)


@pytest.fixture(autouse=True)
def _as_in_a_deployment(db: None) -> None:
    """Forbid what the test suite itself may do between its tests."""
    sql("SET LOCAL clearing.may_truncate = off")


@pytest.mark.parametrize("table", KEPT)
def test_no_table_that_is_kept_can_be_emptied(table: str) -> None:
    with refused("never_emptied"):
        sql(f"TRUNCATE {table} CASCADE")


def test_asking_for_it_is_not_enough_in_a_database_that_is_no_test_s() -> None:
    ((body,),) = sql("SELECT prosrc FROM pg_proc WHERE proname = 'refuse_truncate'")

    assert "starts_with(current_database(), 'test_') AND" in body
    assert str(connection.settings_dict["NAME"]).startswith("test_")


def test_a_window_s_partition_is_emptied_only_once_the_window_is_given_up() -> None:
    circle()
    lost = closed(*story(DAY))
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    with refused("never_emptied"):
        sql(f"TRUNCATE {partitions.name(lost.pk)}")
    operations.roll_back(running(lost, applied=2).pk, at=AT, reason="test")
    window()

    windows.give_up(lost, at=AT, reason="hopeless")

    assert sql(f"SELECT count(*) FROM {partitions.name(lost.pk)}") == [(0,)]


@pytest.mark.parametrize("table", COMPUTED)
def test_nothing_a_final_run_computed_is_deleted(table: str) -> None:
    circle()
    run = settled(closed(*story(DAY), netting_mode="conservative"))
    assert sql(f"SELECT count(*) > 0 FROM {table} WHERE operation_id = %s", run.pk) == [(True,)]

    with refused("final_run_is_kept"):
        sql(f"DELETE FROM {table} WHERE operation_id = %s", run.pk)


def test_nothing_a_final_run_computed_is_deleted_together_with_what_another_did() -> None:
    circle(10_000)
    live = running(closed(*story(DAY)), applied=2)
    final = settled(closed(*story(DAY)))

    with refused("final_run_is_kept"):
        sql("DELETE FROM clearing_grosspair WHERE operation_id IN (%s, %s)", live.pk, final.pk)


@pytest.mark.parametrize("table", COMPUTED)
def test_nothing_a_final_run_computed_is_changed(table: str) -> None:
    circle()
    run = settled(closed(*story(DAY), netting_mode="conservative"))

    with refused("append_only" if table == "clearing_multilateralposition" else "final_run_is_kept"):
        sql(f"UPDATE {table} SET currency_id = 978 WHERE operation_id = %s AND currency_id = 392", run.pk)


def test_no_checkpoint_of_a_final_run_is_undone_or_deleted() -> None:
    circle()
    run = settled(closed(obligation()))

    with refused("final_run_is_kept"):
        sql("UPDATE clearing_checkpoint SET status = 'Undone' WHERE operation_id = %s", run.pk)
    with refused("final_run_is_kept"):
        sql("DELETE FROM clearing_checkpoint WHERE operation_id = %s", run.pk)


@pytest.mark.parametrize("applied", range(len(STEPS) + 1))
def test_a_run_that_is_not_final_is_undone_as_ever(applied: int) -> None:
    circle()
    run = running(closed(*story(DAY)), applied=applied)

    assert operations.roll_back(run.pk, at=AT, reason="test").status == "RolledBack"
