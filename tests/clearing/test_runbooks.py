"""What the runbooks tell an operator to type works as written, and finds what they say it finds."""

import re

import pytest
from django.conf import settings

from clearing import operations, steps
from clearing.checkpoints import netting_calculated
from clearing.models import Dispatch
from clearing.operations import RollbackFailed
from tests.chaos import invariants
from tests.database import sql
from tests.factories import AT, DAY, circle, closed, running, story

pytestmark = pytest.mark.django_db

RUNBOOKS = settings.BASE_DIR / "docs" / "runbooks"


def blocks(page: str) -> list[str]:
    """The page's SQL as psql would send it, with a place for each variable."""
    found = re.findall(r"```sql\n(.*?);?\n```", (RUNBOOKS / page).read_text("utf-8"), re.DOTALL)
    return [block.replace(":'operation'", "%(operation)s") for block in found]


def ask(statement: str, operation: object) -> list[tuple[object, ...]]:
    return sql(statement.replace("%(operation)s", f"'{operation}'"))


def test_what_a_failed_rollback_left_is_found_and_after_the_repair_nothing_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    circle()
    run = running(closed(*story(DAY)), applied=4)
    left, disagreeing = blocks("rollback-failed.md")
    monkeypatch.setattr(netting_calculated, "undo", lambda *_, **__: None)

    with pytest.raises(RollbackFailed):
        operations.roll_back(run.pk, at=AT, reason="test")

    assert steps.get(run.pk).error_message.startswith(
        f"test (then the rollback failed at {netting_calculated.NAME}: Operation {run.pk}"
    )
    found = {name for name, count in ask(left, run.pk) if count}
    assert found == {"frozen", "pairs", "results", "positions", "pair positions"}
    monkeypatch.undo()
    operations.roll_back(run.pk, at=AT)
    assert {count for _, count in ask(left, run.pk)} == {0}
    assert ask(disagreeing, run.pk) == []


def test_the_list_of_what_is_left_names_every_table_that_a_run_writes() -> None:
    (left, _) = blocks("rollback-failed.md")

    named = set(re.findall(r"FROM (\w+)", left))

    assert named == {*invariants.OF_OPERATION, *invariants.OF_BATCH, "settlement_posting"}


def test_how_often_a_run_was_sent_is_where_the_runbook_looks() -> None:
    circle()
    run = running(closed(*story(DAY)))
    Dispatch.objects.create(operation=run, count=3, next_at=AT)
    (statement,) = re.findall(r"`(SELECT [^`]+)`", (RUNBOOKS / "stuck-window.md").read_text("utf-8"))

    assert ask(statement.replace("…", "%(operation)s"), run.pk) == [(3, AT)]
