"""Obligations over NATS: taken once, whatever dies; what is wrong goes aside with its reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from clearing.models import Obligation, ObligationKey
from clearing.states import Region
from clearing_project.stack.processes import Process
from clearing_project.stack.servers import EmbeddedNats
from tests import factories
from tests.clearing.api.caller import bulk
from tests.clearing.consumers.conftest import Bus, Running, until
from tests.database import sql
from tests.factories import A, B, obligation

Consume = Callable[[], Running]


def references() -> list[str]:
    return list(Obligation.objects.order_by("reference").values_list("reference", flat=True))


def test_what_is_submitted_is_taken_answered_and_acknowledged(consume: Consume, bus: Bus) -> None:
    factories.circle()
    window = factories.window()
    consume()

    answer = bus.ask(bulk(obligation(reference="one"), obligation(reference="two")))
    again = bus.ask(bulk(obligation(reference="one"), obligation(reference="two")))
    until(lambda: bus.waiting() == 0)

    assert (answer["window_id"], answer["accepted"], answer["rejected"]) == (window.pk, 2, 0)
    assert [item["status"] for item in again["items"]] == ["duplicate", "duplicate"]
    assert [item["id"] for item in again["items"]] == [item["id"] for item in answer["items"]]
    assert references() == ["one", "two"]
    assert set(Obligation.objects.values_list("submitter", flat=True)) == {"@operator"}
    assert bus.rejected() == []


def test_a_participants_subject_is_its_own_scope_and_takes_only_what_it_owes(
    consume: Consume, bus: Bus
) -> None:
    factories.circle()
    factories.window()
    consume()
    own = f"clearing.obligations.submit.{A}"

    taken = bus.ask(bulk(obligation(A, B, reference="r")), to=own)
    foreign = bus.ask(bulk(obligation(B, A, reference="x")), to=own)
    nobody = bus.ask(bulk(obligation(A, B, reference="y")), to="clearing.obligations.submit.NOBODY")

    assert taken["accepted"] == 1
    assert foreign["code"] == "not_your_obligation"
    assert nobody["code"] == "unknown_participant"
    assert list(Obligation.objects.values_list("reference", "submitter")) == [("r", A)]


GARBAGE: dict[str, tuple[Any, str]] = {
    "not json": (b"\xff\x00 nonsense", "body_malformed"),
    "empty": (b"", "body_malformed"),
    "another shape": ({"colour": "red"}, "body_invalid"),
    "no items": ({"obligations": []}, "no_items"),
    "no such region": ({"obligations": [{}], "region": "Atlantis"}, "unknown_region"),
    "a wrong item": (bulk(obligation(payer="NOBODY"), obligation(reference="g")), "unknown_participant"),
    "an item of no shape": ({"obligations": [{"reference": "q"}]}, "item_invalid"),
    "deeply nested": (b'{"obligations": ' + b"[" * 100_000, "body_malformed"),
}


def test_bad_messages_go_aside_with_code_and_original_and_block_nothing(consume: Consume, bus: Bus) -> None:
    factories.circle()
    factories.window()
    for body, _ in GARBAGE.values():
        bus.publish(body)
    bus.publish(bulk(obligation(reference="good")))

    consume()
    until(lambda: bus.waiting() == 0)

    records = bus.rejected()
    assert [record["code"] for record in records] == [code for _, code in GARBAGE.values()]
    assert all(record["message"] and record["sequence"] for record in records)
    assert records[0]["original_base64"] == "/wAgbm9uc2Vuc2U="
    assert records[2]["original"] == {"colour": "red"}
    assert records[5]["items"][0]["index"] == 0
    assert records[5]["original"] == GARBAGE["a wrong item"][0]
    assert references() == ["good"]


def test_item_by_item_the_wrong_ones_go_aside_and_the_others_are_taken(consume: Consume, bus: Bus) -> None:
    factories.circle()
    factories.window()
    consume()
    body = bulk(obligation(reference="1"), obligation(payer="NOBODY"), obligation(reference="3"))
    body["obligations"].append({"reference": "shapeless"})

    answer = bus.ask({**body, "on_error": "per_item"})
    until(lambda: bus.waiting() == 0)

    assert (answer["accepted"], answer["rejected"]) == (2, 2)
    (record,) = bus.rejected()
    assert record["code"] == "items_rejected"
    assert [(item["index"], item["code"]) for item in record["items"]] == [
        (1, "unknown_participant"),
        (3, "item_invalid"),
    ]
    assert [item["original"] for item in record["items"]] == [body["obligations"][1], body["obligations"][3]]
    assert references() == ["1", "3"]


def test_no_answer_goes_where_events_or_natss_own_messages_go(consume: Consume, bus: Bus) -> None:
    factories.circle()
    factories.window()

    for subject in ("clearing.window.completed", "$JS.API.STREAM.DELETE.CLEARING", "a.>"):
        bus.publish(bulk(obligation()), reply_to=subject)
    consume()
    until(lambda: bus.waiting() == 0)

    assert [record["code"] for record in bus.rejected()] == ["reply_subject_invalid"] * 3
    assert references() == []


def test_a_message_for_a_region_without_a_window_waits_for_it_and_keeps_nothing_back(
    consume: Consume, bus: Bus
) -> None:
    factories.circle()
    factories.window()
    consume()

    bus.publish(bulk(obligation(reference="early"), region=Region.ASIA_PACIFIC.value))
    answer = bus.ask(bulk(obligation(reference="now")))
    assert (answer["accepted"], bus.waiting(), references()) == (1, 1, ["now"])
    factories.window(Region.ASIA_PACIFIC)
    until(lambda: bus.waiting() == 0)

    assert references() == ["early", "now"]
    assert bus.rejected() == []


def test_two_consumers_share_the_work(consume: Consume, bus: Bus) -> None:
    factories.circle()
    factories.window()
    for running in (consume(), consume()):
        running.wait()
    sent = [obligation(amount_minor=number) for number in range(1, 601)]

    bus.publish(*[bulk(*sent[start : start + 2]) for start in range(0, 600, 2)])
    until(lambda: bus.waiting() == 0)

    assert sql("SELECT count(*), sum(amount_minor) FROM clearing_obligation") == [(600, 180_300)]
    assert ObligationKey.objects.count() == 600


def test_a_cut_database_session_loses_and_doubles_nothing(consume: Consume, bus: Bus) -> None:
    factories.circle()
    factories.window()
    consume()
    bus.ask(bulk(obligation(reference="1")))

    sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    answer = bus.ask(bulk(obligation(reference="2")))
    until(lambda: bus.waiting() == 0)

    assert answer["accepted"] == 1
    assert references() == ["1", "2"]


def test_natss_restart_loses_and_doubles_nothing(consume: Consume, bus: Bus, broker: EmbeddedNats) -> None:
    factories.circle()
    factories.window()
    running = consume()
    running.wait()
    bus.ask(bulk(obligation(reference="1")))

    broker.kill()
    broker.start()
    bus.publish(bulk(obligation(reference="2")))
    until(lambda: bus.waiting() == 0)

    assert references() == ["1", "2"]


def test_a_consumer_killed_between_its_commit_and_the_acknowledgement_takes_each_message_once(
    process: Callable[..., Process], bus: Bus, tmp_path: Path
) -> None:
    factories.circle()
    factories.window()
    (tmp_path / "intake.between").write_text("kill")
    bus.publish(*[bulk(obligation(reference=str(number))) for number in range(3)], b"nonsense")

    first = process()
    until(lambda: not first.is_alive)
    committed, unacknowledged = references(), bus.waiting()
    second = process("intake-again")
    until(lambda: bus.waiting() == 0)
    second.stop()

    assert (committed, unacknowledged) == (["0", "1", "2"], 4)
    assert references() == ["0", "1", "2"]
    assert [record["code"] for record in bus.rejected()] == ["body_malformed"]
    assert second.status == 0
