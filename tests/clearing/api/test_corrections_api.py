"""Correcting a window over REST and from the command line: answered, kept for its key, told both ways."""

import json
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from clearing import queries
from clearing.models import AtomicOperation, ClearingWindow
from clearing.states import OperationType
from clearing_project.stack.runtime import REPOSITORY
from settlement import accounts
from tests.chaos import invariants
from tests.clearing.api.caller import Caller, is_problem
from tests.factories import AT, A, B, balances, circle, closed, obligation, settled

pytestmark = pytest.mark.django_db

WHY = {"reason": "the file was sent twice"}


@pytest.fixture
def done() -> ClearingWindow:
    """A completed window in which the first of three banks paid the second 60."""
    circle(1000)
    return settled(closed(obligation(A, B, 60), netting_mode="gross")).window


def paid() -> list[tuple[int, int]]:
    return [balances(code)["USD"] for code in (A, B)]


def corrections() -> list[AtomicOperation]:
    return list(
        AtomicOperation.objects.filter(operation_type=OperationType.CORRECTION).order_by("created_at")
    )


def test_a_window_is_corrected_and_both_instructions_name_each_other(
    operator: Caller, done: ClearingWindow
) -> None:
    answer = operator.post(f"windows/{done.pk}/correct", WHY)

    assert answer.status_code == 201, answer.content
    told = answer.json()
    assert (told["window_id"], told["instructions_count"]) == (done.pk, 1)
    assert paid() == [(1000, 0), (1000, 0)]
    (back,) = operator.get(f"instructions?operation={told['operation_id']}").json()["results"]
    original = operator.get(f"instructions/{back['corrects']}").json()
    assert (original["corrected_by"], original["corrects"], original["status"]) == (
        back["id"],
        None,
        "Completed",
    )
    assert (back["payer"], back["payee"], back["amount"], back["window_id"]) == (B, A, "0.60", done.pk)
    listed = operator.get(f"instructions?window={done.pk}").json()["results"]
    assert [(each["id"], each["corrected_by"]) for each in listed] == [(original["id"], back["id"])]
    operation = operator.get(f"operations/{told['operation_id']}").json()
    assert (operation["operation_type"], operation["status"]) == ("Correction", "Committed")
    assert (operation["requested_by"], operation["reason"]) == ("operator", WHY["reason"])
    key = operator.get(f"obligations?window={done.pk}").json()["results"][0]["id"]
    (payment,) = operator.get(f"obligations/{key}").json()["discharge"]["payments"]
    assert payment == {"instruction_id": original["id"], "amount": "0.60", "corrected_by": back["id"]}


def test_a_repeated_correction_is_answered_as_the_first_time(operator: Caller, done: ClearingWindow) -> None:
    path = f"windows/{done.pk}/correct"

    first, second = operator.post(path, WHY, key="k"), operator.post(path, WHY, key="k")

    assert (second.status_code, second.json()) == (201, first.json())
    assert paid() == [(1000, 0), (1000, 0)]
    assert [each.status for each in corrections()] == ["Committed"]
    is_problem(operator.post(path, WHY, key="other"), 409, "nothing_to_correct")


def test_a_refused_correction_is_kept_as_failed_and_may_be_tried_again_under_its_key(
    operator: Caller, done: ClearingWindow
) -> None:
    settled(closed(obligation(B, A, 1060), netting_mode="gross"))
    path = f"windows/{done.pk}/correct"

    is_problem(operator.post(path, WHY, key="k"), 409, "insufficient_funds")
    accounts.fund(B, "USD", amount_minor=60, reference="again", at=AT)
    assert operator.post(path, WHY, key="k").status_code == 201

    assert [(each.status, each.error_code) for each in corrections()] == [
        ("Failed", "insufficient_funds"),
        ("Committed", ""),
    ]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"reason": " "}, 422, "reason_invalid"),
        ({}, 422, "body_invalid"),
        ({**WHY, "instructions": []}, 422, "body_invalid"),
        ({**WHY, "instructions": ["nonsense"]}, 422, "body_invalid"),
        ({**WHY, "instructions": ["0f6e1c1e-6f0b-4d0c-9a77-6c2f5a1d3e42"]}, 422, "instruction_not_in_batch"),
    ],
)
def test_a_wrong_request_is_refused(
    operator: Caller, done: ClearingWindow, body: Any, status: int, code: str
) -> None:
    is_problem(operator.post(f"windows/{done.pk}/correct", body), status, code)

    assert paid() == [(940, 0), (1060, 0)]


def test_a_window_that_is_not_completed_is_refused_with_what_to_do(operator: Caller) -> None:
    circle()
    window = closed(obligation())

    problem = is_problem(operator.post(f"windows/{window.pk}/correct", WHY), 409, "not_settled")

    assert "rolled back" in problem["detail"]


def test_a_rollback_after_finality_names_the_correction(operator: Caller, done: ClearingWindow) -> None:
    problem = is_problem(operator.post(f"rollback/{done.pk}", WHY), 409, "already_final")

    assert "windows/ID/correct" in problem["detail"]


def test_a_participant_sees_that_its_money_was_sent_back(
    operator: Caller, done: ClearingWindow, bank_a: Caller
) -> None:
    operator.post(f"windows/{done.pk}/correct", WHY)

    shown = bank_a.get("instructions").json()["results"]

    assert sorted((each["payer"], each["payee"]) for each in shown) == [(A, B), (B, A)]
    assert {each["corrects"] for each in shown} == {None, *(e["id"] for e in shown if e["corrected_by"])}


def test_the_command_corrects_named_instructions_and_says_so_as_json(done: ClearingWindow) -> None:
    out = StringIO()
    original = queries.instructions(done)[0].pk

    call_command(
        "correct_window",
        str(done.pk),
        "--reason=test",
        "--by=olivia",
        f"--instruction={original}",
        stdout=out,
    )

    told = json.loads(out.getvalue())
    assert (told["window_id"], told["instructions_count"]) == (done.pk, 1)
    assert [(each.requested_by, str(each.pk)) for each in corrections()] == [("olivia", told["operation_id"])]
    assert paid() == [(1000, 0), (1000, 0)]


def test_the_command_ends_with_the_error_s_code(done: ClearingWindow) -> None:
    call_command("correct_window", str(done.pk), "--reason=test", stdout=StringIO())

    with pytest.raises(CommandError, match="nothing_to_correct: "):
        call_command("correct_window", str(done.pk), "--reason=test")


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.parametrize(
    ("point", "is_done"),
    [("correction.before", False), ("correction.between", False), ("correction.after", True)],
)
def test_a_correction_whose_process_is_killed_is_done_wholly_or_not_at_all(
    tmp_path: Path, point: str, is_done: bool
) -> None:
    circle(1000)
    window = settled(closed(obligation(A, B, 60))).window
    (tmp_path / point).write_text("kill")

    killed = subprocess.run(
        [sys.executable, "manage.py", "correct_window", str(window.pk), "--reason=test"],
        cwd=REPOSITORY,
        env={**os.environ, "DATABASE_URL": _test_database(), "CLEARING_FAULTS": str(tmp_path)},
        check=False,
    )

    assert killed.returncode == -signal.SIGKILL
    assert paid() == ([(1000, 0), (1000, 0)] if is_done else [(940, 0), (1060, 0)])
    assert [each.status for each in corrections()] == (["Committed"] if is_done else [])
    assert invariants.broken() == []


def _test_database() -> str:
    parts = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))
