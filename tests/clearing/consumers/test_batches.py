"""Messages taken together are told what each would have been told alone."""

import json
from base64 import b64decode
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from clearing.consumers import batches
from clearing.consumers.batches import Broken, Postponed
from clearing.consumers.messages import SUBMIT, Message, answer, rejects
from clearing.models import Obligation
from clearing.obligations import Intake, screen
from tests import factories
from tests.clearing.api.caller import bulk
from tests.database import sql
from tests.factories import AT, A, B, obligation

BYTES_MAX = 4_000
STORED = "SELECT count(*), coalesce(sum(amount_minor), 0) FROM clearing_obligation"


def message(body: Any, sequence: int = 1, *, subject: str = SUBMIT) -> Message:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Message(subject, data, sequence, AT)


def told(taken: batches.Taken) -> Any:
    """What a sender can tell apart, without ids and windows."""
    assert not isinstance(taken, Postponed), taken.reason
    if isinstance(taken, Intake):
        return [(row.index, row.reference, row.status, row.code) for row in taken.outcomes]
    return taken.public_code, [(item["index"], item["code"]) for item in taken.details.get("items", [])]


ITEM = st.builds(
    lambda reference, payer, amount: {
        "reference": reference,
        "payer": payer,
        "payee": B,
        "currency": "USD",
        "amount": amount,
    },
    st.sampled_from("abcdef"),
    st.sampled_from([A, A, A, "NOBODY"]),
    st.sampled_from(["1.00", "1.00", "2.00"]),
)
BODY = st.fixed_dictionaries(
    {
        "obligations": st.lists(ITEM, min_size=1, max_size=3),
        "region": st.just("Americas"),
        "on_error": st.sampled_from(["per_item", "all_or_nothing"]),
    }
)


class TogetherAsAlone(TestCase):
    @settings(max_examples=20, deadline=None)
    @given(st.lists(BODY, min_size=1, max_size=8))
    def test_messages_are_told_together_what_they_are_told_alone(self, bodies: list[dict[str, Any]]) -> None:
        factories.circle()
        factories.window()
        messages = [message(body, sequence) for sequence, body in enumerate(bodies)]

        with transaction.atomic():
            alone = [told(batches.take([each], at=AT)[0]) for each in messages]
            stored = sql(STORED)
            transaction.set_rollback(True)
        together = [told(each) for each in batches.take(messages, at=AT)]

        assert together == alone
        assert sql(STORED) == stored


@pytest.mark.django_db
def test_many_sound_messages_are_one_transaction() -> None:
    factories.circle()
    factories.window()
    messages = [message(bulk(obligation(), obligation()), number) for number in range(100)]

    with CaptureQueriesContext(connection) as queries:
        taken = batches.take(messages, at=AT)

    assert all(isinstance(each, Intake) and len(each.outcomes) == 2 for each in taken)
    assert Obligation.objects.count() == 200
    assert sum("obligation_block" in query["sql"] for query in queries) == 1


@pytest.mark.django_db
def test_a_message_that_breaks_the_engine_is_postponed_and_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stands for a fault of our own that no message is known to reach."""
    factories.circle()
    factories.window()
    messages = [message(bulk(obligation(reference=name)), place) for place, name in enumerate("abc")]
    sound = screen.screen

    def breaking(submissions: Any, *rest: Any, **more: Any) -> Any:
        assert all(each.reference != "b" for each in submissions), "broken"
        return sound(submissions, *rest, **more)

    monkeypatch.setattr("clearing.obligations.intake.screen", breaking)
    taken = batches.take(messages, at=AT)

    broken = taken[1]
    assert isinstance(broken, Postponed)
    assert broken.is_broken
    assert list(Obligation.objects.order_by("id").values_list("reference", flat=True)) == ["a", "c"]


def test_an_original_too_large_for_one_message_comes_in_parts_that_make_it_whole() -> None:
    data = b"\xff" + bytes(range(256)) * 100

    records = [json.loads(each) for each in rejects(message(data), Broken(), bytes_max=BYTES_MAX)]

    assert b"".join(b64decode(record["original_base64"]) for record in records) == data
    assert [record["part"] for record in records] == list(range(1, len(records) + 1))
    assert all(len(json.dumps(record)) <= BYTES_MAX for record in records)


@pytest.mark.django_db
def test_many_refused_items_come_in_portions_each_with_its_original() -> None:
    factories.circle()
    factories.window()
    body = bulk(*[obligation(payer="NOBODY") for _ in range(50)], on_error="per_item")
    sent = message(body)

    (taken,) = batches.take([sent], at=AT)
    assert isinstance(taken, Intake)
    encoded = list(rejects(sent, taken, bytes_max=BYTES_MAX))

    items = [item for each in encoded for item in json.loads(each)["items"]]
    assert [item["index"] for item in items] == list(range(50))
    assert [item["original"] for item in items] == body["obligations"]
    assert len(encoded) > 1
    assert all(len(each) <= BYTES_MAX for each in encoded)
    assert len(answer(taken, bytes_max=BYTES_MAX)) <= BYTES_MAX
    assert json.loads(answer(taken, bytes_max=BYTES_MAX))["rejected"] == 50


@pytest.mark.django_db
def test_an_item_too_large_to_be_listed_sends_the_whole_original() -> None:
    factories.circle()
    factories.window()
    sent = message(bulk(obligation(payer="X" * 5_000), obligation(), on_error="per_item"))

    (taken,) = batches.take([sent], at=AT)
    assert isinstance(taken, Intake)
    records = [json.loads(each) for each in rejects(sent, taken, bytes_max=BYTES_MAX)]

    assert b"".join(b64decode(record["original_base64"]) for record in records) == sent.data
    assert all(len(json.dumps(record)) <= BYTES_MAX for record in records)
