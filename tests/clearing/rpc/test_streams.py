"""Streams: every event once and in order, over reconnects, many on few connections, none held up."""

import json
import queue
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
from django.db import connection, transaction

from clearing import operations, windows
from clearing.events import facts, outbox
from clearing.models import ApiToken, ClearingWindow
from clearing.models.access import Role
from clearing.rpc import guard, hub
from clearing.rpc.pb import clearing_pb2 as pb
from clearing.states import EventType
from tests import factories
from tests.clearing.rpc.conftest import Running, issue
from tests.clearing.rpc.contract import Client
from tests.clearing.rpc.refusals import refused
from tests.database import aside, sql

REGION = factories.BY_HAND.value
STORY = "BANK-A owes BANK-B 50000 USD\nBANK-B owes BANK-C 30000 USD"
PATIENCE_SECONDS = 20


class Reader:
    """Reads a stream in a thread; it follows once this is made."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._read = stream, queue.Queue[Any]()
        stream.initial_metadata()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def next(self, count: int) -> list[Any]:
        """The next *count* messages."""
        return [self._read.get(timeout=PATIENCE_SECONDS) for _ in range(count)]

    def close(self) -> list[Any]:
        """Cancel the stream; what came that nobody had asked for."""
        self._stream.cancel()
        return self.rest()

    def rest(self) -> list[Any]:
        """What comes until the stream ends by itself."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the stream does not end"
        return list(self._read.queue)

    def _run(self) -> None:
        try:
            for message in self._stream:
                self._read.put(message)
        except grpc.RpcError:
            return


@pytest.fixture
def follow(operator: Client) -> Iterator[Callable[..., Reader]]:
    """Follow a region's updates as the operator."""
    readers: list[Reader] = []

    def start(resume_after: str = "", region: str = REGION) -> Reader:
        metadata = (("resume-after", resume_after),) if resume_after else ()
        stream = operator.StreamWindowUpdates(region=region, metadata=metadata, timeout=60)
        readers.append(Reader(stream))
        return readers[-1]

    yield start
    for reader in readers:
        reader.close()


def kinds(updates: list[Any]) -> list[str]:
    return [update.event_type for update in updates]


def sequences(updates: list[Any]) -> list[tuple[int, int]]:
    return [(update.window_id, int(update.metadata["sequence"])) for update in updates]


def test_a_stream_tells_a_window_s_whole_life_in_order(follow: Callable[..., Reader]) -> None:
    factories.circle()
    reader = follow()

    window = factories.closed(*factories.story(STORY))
    factories.settled(window)

    updates = reader.next(5)
    events = list(window.events.exclude(event_type=EventType.EFFICIENCY_ALERT).order_by("sequence"))
    assert kinds(updates) == ["Opened", "Closing", "Closed", "Processing", "Completed"]
    assert [update.metadata["event_id"] for update in updates] == [str(event.event_id) for event in events]
    assert {update.window_id for update in updates} == {window.pk}
    assert all(update.timestamp.endswith("Z") for update in updates)
    assert json.loads(updates[-1].details)["obligations_count"] == 2
    assert reader.close() == []


def test_a_stream_tells_of_its_region_alone(follow: Callable[..., Reader]) -> None:
    reader = follow()

    factories.window(windows.region("AsiaPacific"))
    own = factories.window()

    assert sequences(reader.next(1)) == [(own.pk, 1)]
    assert reader.close() == []


def test_what_happened_before_is_not_told_without_a_place_to_resume(follow: Callable[..., Reader]) -> None:
    window = factories.closed()

    reader = follow()
    factories.running(window, applied=1)

    assert kinds(reader.next(1)) == ["Processing"]


@pytest.mark.parametrize("read", range(1, 6))
def test_a_reader_that_reconnects_misses_nothing_and_reads_nothing_twice(
    follow: Callable[..., Reader], read: int
) -> None:
    factories.circle()
    first = follow()
    window = factories.closed(*factories.story(STORY))
    later = factories.window()
    run = factories.running(window, applied=1)
    before = first.next(read)
    first.close()
    operations.roll_back(run.pk, at=factories.AT, reason="away")

    second = follow(before[-1].metadata["resume_after"])
    after = second.next(6 - read)
    windows.begin_close(later, at=later.cutoff_at)

    assert sequences(before + after) == [
        (window.pk, 1),
        (window.pk, 2),
        (window.pk, 3),
        (later.pk, 1),
        (window.pk, 4),
        (window.pk, 5),
    ]
    assert sequences(second.next(1)) == [(later.pk, 2)]


def test_the_sequence_of_the_one_window_followed_is_a_place_to_resume(follow: Callable[..., Reader]) -> None:
    window = factories.closed()
    factories.running(window, applied=1)

    assert sequences(follow("3").next(1)) == [(window.pk, 4)]
    assert sequences(follow("0").next(4)) == [(window.pk, number) for number in range(1, 5)]


def test_a_long_absence_is_told_in_order(follow: Callable[..., Reader]) -> None:
    window = factories.window()
    place = follow(f"{window.pk}:0").next(1)[0].metadata["resume_after"]
    for number in range(1200):
        _tell(window, number)

    numbers = [_number(update) for update in follow(place).next(1200)]

    assert numbers == list(range(1200))


@pytest.mark.parametrize("place", ["-1", "x", "1:2:3", "7", "999:1", ":", "1:", "9" * 30, "1:1," * 200])
def test_a_place_that_never_was_is_refused(operator: Client, place: str) -> None:
    factories.window()

    call = operator.StreamWindowUpdates(region=REGION, metadata=(("resume-after", place),))

    assert refused(lambda: call) == ("INVALID_ARGUMENT", "resume_invalid")


def test_an_event_that_commits_late_is_told_although_its_number_is_lower(
    follow: Callable[..., Reader],
) -> None:
    early, late = factories.closed(), factories.window()
    reader = follow()
    began, told = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic():
            _tell(early)
            began.set()
            told.wait(PATIENCE_SECONDS)

    thread = threading.Thread(target=lambda: aside(slow))
    thread.start()
    assert began.wait(PATIENCE_SECONDS)
    _tell(late)
    first = reader.next(1)
    told.set()
    thread.join()

    assert sequences(first) == [(late.pk, 2)]
    assert sequences(reader.next(1)) == [(early.pk, 4)]


def test_a_participant_does_not_learn_who_was_short_of_funds(client_of: Callable[..., Client]) -> None:
    client = client_of(Role.PARTICIPANT, participant=factories.participant())
    reader = Reader(client.StreamWindowUpdates(region=REGION))
    run = factories.running(factories.closed(), applied=1)

    operations.roll_back(run.pk, at=factories.AT, reason="BANK-C needs 1.00 USD")

    update = reader.next(5)[-1]
    assert update.event_type == "RolledBack"
    assert "BANK-C" not in str(update)
    reader.close()


def test_three_hundred_streams_share_a_handful_of_connections(running: Running) -> None:
    token = issue(Role.AUDITOR)
    clients = [Client(running.address, token, channel=_own_channel(running.address)) for _ in range(6)]
    readers = [
        Reader(client.StreamWindowUpdates(region=REGION, timeout=60)) for client in clients for _ in range(50)
    ]

    factories.closed()

    assert all(kinds(reader.next(3)) == ["Opened", "Closing", "Closed"] for reader in readers)
    name = connection.settings_dict["NAME"]
    open_ = aside(lambda: sql("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", name))[0][0]
    assert open_ <= 8 + 1 + 2, "calls, the poller, and this test's own"
    for client in clients:
        client.channel.close()


def test_a_slow_reader_is_cut_off_and_holds_nobody_up(
    running: Running, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "ROUNDS_MAX", 3)
    monkeypatch.setattr(hub, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(guard, "WRITE_SECONDS", 1.0)
    window = factories.window()
    slow = operator.StreamWindowUpdates(region=REGION, timeout=60)
    slow.initial_metadata()
    with grpc.insecure_channel(running.address) as channel:
        quick = Reader(Client("", issue(Role.AUDITOR), channel=channel).StreamWindowUpdates(region=REGION))

        for number in range(120):
            _tell(window, number, padding="x" * 100_000)  # more than transports hold for a reader
            assert _number(quick.next(1)[0]) == number
        quick.close()

    assert refused(lambda: slow) == ("RESOURCE_EXHAUSTED", "reader_too_slow")


def test_a_stream_ends_when_its_token_is_revoked(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "ADMITTED_SECONDS", 0.0)
    stream = operator.StreamWindowUpdates(region=REGION, timeout=60)
    stream.initial_metadata()

    ApiToken.objects.update(revoked_at=factories.AT)
    factories.window()

    assert refused(lambda: stream) == ("UNAUTHENTICATED", "not_authenticated")


def test_streams_beyond_the_limit_are_refused(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "STREAMS_MAX", 2)
    readers = [Reader(operator.StreamWindowUpdates(region=REGION)) for _ in range(2)]

    third = refused(lambda: operator.StreamWindowUpdates(region=REGION))

    assert third == ("RESOURCE_EXHAUSTED", "too_many_streams")
    for reader in readers:
        reader.close()


def test_settlement_is_told_instruction_by_instruction_until_the_window_ends(operator: Client) -> None:
    factories.circle()
    window = factories.closed(*factories.story(STORY))
    reader = Reader(operator.StreamSettlementStatus(window_id=window.pk))

    factories.settled(window)

    updates = reader.rest()
    by_instruction: dict[str, list[str]] = {}
    for update in updates:
        by_instruction.setdefault(update.settlement_id, []).append(update.status)
    result = operator.GetProcessingResult(window_id=window.pk)
    assert set(by_instruction) == {each.id for each in result.settlement_instructions}
    assert all(statuses[-1] == "Completed" for statuses in by_instruction.values())
    assert all(statuses in (["Completed"], ["Pending", "Completed"]) for statuses in by_instruction.values())
    assert {update.window_id for update in updates} == {window.pk}


def test_instructions_of_a_run_that_is_rolled_back_are_told_as_failed(operator: Client) -> None:
    factories.circle()
    window = factories.closed(*factories.story(STORY))
    run = factories.running(window, applied=4)
    reader = Reader(operator.StreamSettlementStatus(window_id=window.pk))
    pending = reader.next(3)

    operations.roll_back(run.pk, at=factories.AT, reason="test")

    failed = reader.next(3)
    assert [update.status for update in pending] == ["Pending"] * 3
    assert {update.settlement_id for update in failed} == {update.settlement_id for update in pending}
    assert [update.status for update in failed] == ["Failed"] * 3
    assert "withdrawn" in json.loads(failed[0].details)["reason"]
    again = factories.settled(ClearingWindow.objects.get(pk=window.pk))
    assert {update.status for update in reader.rest()} <= {"Pending", "Completed"}
    assert again.pk != run.pk


def test_the_settlement_of_a_window_that_ended_is_told_at_once(operator: Client) -> None:
    factories.circle()
    window = factories.closed(*factories.story(STORY))
    factories.settled(window)

    updates = list(operator.StreamSettlementStatus(window_id=window.pk))

    assert [update.status for update in updates] == ["Completed"] * 3
    assert json.loads(updates[0].details) == {
        "from_bank": "AGENT",
        "to_bank": "BANK-B",
        "amount": "200.00",
        "currency": "USD",
    }


def test_a_participant_is_told_of_its_own_settlement_alone(client_of: Callable[..., Client]) -> None:
    bank_a, _, _ = factories.circle()
    window = factories.closed(*factories.story(STORY))
    factories.settled(window)
    client = client_of(Role.PARTICIPANT, participant=bank_a)

    (update,) = client.StreamSettlementStatus(window_id=window.pk)

    assert json.loads(update.details)["from_bank"] == "BANK-A"


def _tell(window: ClearingWindow, number: int = 0, *, padding: str = "") -> None:
    """Write an event of the window that moves nothing."""
    at = factories.AT + timedelta(hours=1)
    fact = facts.RolledBack(operation_id=UUID(int=number), error_code=padding, error_message="")
    with transaction.atomic():
        outbox.append(window.pk, fact, at=at)


def _number(update: pb.WindowUpdate) -> int:
    return UUID(json.loads(update.details)["operation_id"]).int


def _own_channel(address: str) -> grpc.Channel:
    """A connection that no other channel shares."""
    return grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))
