"""Every kind of event has a published JSON Schema, and what is written is what is published."""

import copy
import json
from typing import Any

import msgspec
import pytest
from django.core.management import call_command
from django.db import transaction
from jsonschema import Draft202012Validator, ValidationError

from clearing import corrections, operations, windows
from clearing.events import facts, outbox, schemas
from clearing.events.catalog import payload
from clearing.models import ClearingWindow, WindowEvent
from clearing.obligations import acts
from clearing.operations import RollbackFailed
from clearing.states import EventType, Region
from clearing_project import trace
from tests import contract
from tests.database import sql
from tests.factories import AT, DAY, A, B, circle, closed, obligation, running, settled, story, take, window

ENGINE = {"InstructionsFailed", "InstructionsContradicted"}  # written, and held to theirs, in tests/engines


@pytest.mark.parametrize("kind", list(EventType))
def test_every_kind_has_a_schema_of_its_own_that_is_one(kind: EventType) -> None:
    found = contract.schema(kind.value)

    Draft202012Validator.check_schema(found)
    assert found["properties"]["event_type"] == {"const": kind.value}
    assert found["$schema"] == schemas.DIALECT


def test_the_files_are_those_of_the_code() -> None:
    kept = {path.name: path.read_bytes() for path in contract.FOLDER.iterdir()}

    assert kept == schemas.files(), "run manage.py export_event_schemas"


def test_the_command_writes_them_and_removes_what_is_gone(tmp_path: Any) -> None:
    (tmp_path / "Forgotten.json").write_text("{}")

    call_command("export_event_schemas", to=tmp_path)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == schemas.files()


@pytest.mark.django_db
def test_a_region_s_events_are_as_published_from_the_first_to_the_alarms() -> None:
    circle()
    with trace.work(request_id="req-1"):
        _overflow_and_acts()
    corrections.correct(settled(closed(*story(DAY))).window, at=AT, reason="wrong file", by="olivia")
    _settle_with_little_saved()
    given_up = closed(*story(DAY))
    operations.roll_back(running(given_up, applied=2).pk, at=AT, reason="test")
    window()
    windows.give_up(windows.get(given_up.pk), at=AT, reason="test")
    _fail_a_rollback()

    events = list(WindowEvent.objects.select_related("window"))

    for event in events:
        contract.whole(event.event_type).validate(json.loads(json.dumps(payload(event))))
    assert {event.event_type for event in events} == set(EventType.values) - ENGINE
    assert any(event.data.get("request_id") == "req-1" for event in events)


@pytest.mark.django_db
def test_an_event_that_is_not_as_published_fails_the_test_that_writes_it() -> None:
    opened = window()
    wrong = msgspec.structs.replace(facts.Opened(reason="test"), reason=7)

    with pytest.raises(ValidationError), transaction.atomic():
        outbox.append(opened.pk, wrong, at=AT)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("event_type", "Closed"),
        ("window_id", 0),
        ("region", "Mars"),
        ("occurred_at", "yesterday"),
        ("data", {}),
    ],
)
def test_a_schema_refuses_what_is_no_such_event(member: str, value: Any) -> None:
    told = payload(window().events.select_related("window").get())
    contract.whole("Opened").validate(told)

    with pytest.raises(ValidationError):
        contract.whole("Opened").validate({**copy.deepcopy(told), member: value})


def _overflow_and_acts() -> ClearingWindow:
    full = window(Region.GLOBAL, max_obligations=1)
    taken = take(*(obligation(A, B) for _ in range(4)), region=Region.GLOBAL)
    cancelled, held, *_ = (outcome.id for outcome in taken.outcomes)
    assert cancelled is not None
    assert held is not None
    by = acts.Actor("olivia")
    acts.cancel(cancelled, by=by, reason="test", at=AT)
    acts.hold(held, by=by, reason="test", at=AT)
    acts.release(held, by=by, reason="test", at=AT)
    return windows.close(full, at=AT)


def _settle_with_little_saved() -> None:
    settled(closed(obligation(A, B, 100)))


def _fail_a_rollback() -> None:
    operation = running(closed(*story(DAY), region=Region.EUROPE), applied=1)
    sql("UPDATE clearing_atomicoperation SET digest_before = 'another' WHERE id = %s", operation.pk)
    with pytest.raises(RollbackFailed):
        operations.roll_back(operation.pk, at=AT, reason="test")
