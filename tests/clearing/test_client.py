"""The typed client: a window from open to completed, pages, refusals, repetition, and no Django inside."""

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from clearing import access
from clearing.client import Client, Limit, Obligation, Problem
from clearing.models import ClearingWindow
from clearing_project.stack.runtime import REPOSITORY
from tests import factories
from tests.clearing.api.caller import typed
from tests.factories import A, B

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Iterator[Client]:
    """An operator's client, through the whole WSGI application, on the test's connection."""
    with typed(access.issue("someone", role="operator")) as made:
        yield made


def test_a_window_from_open_to_completed(client: Client) -> None:
    factories.circle()
    window = client.open_window("Americas", reason="by hand")
    taken = client.submit(
        [Obligation("one", A, B, "USD", "5.00"), Obligation("two", B, A, "USD", "2.00")],
        region="Americas",
    )
    assert [item.status for item in taken.items] == ["accepted"] * 2
    assert client.current_window("Americas") == window
    assert client.force_close(window.id, reason="test").status == "Closed"

    factories.settled(ClearingWindow.objects.get(pk=window.id))

    result = client.result(window.id)
    assert (result.window_status, result.obligations_count) == ("Completed", 2)
    assert {each.participant: each.net for each in client.positions(window.id)} == {A: "-3.00", B: "3.00"}
    assert [each.event_type for each in client.events(window.id)][0::4] == ["Opened", "Completed"]
    instructions = list(client.instructions(window=window.id))
    assert {each.amount for each in instructions} == {"3.00"}
    assert client.instruction(instructions[0].id).executions == []
    assert {each.code for each in client.participants()} >= {A, B}
    assert [each.balance for each in client.accounts(participant=A, currency="USD")] == ["997.00"]


def test_pages_are_read_to_their_end(client: Client) -> None:
    windows = [factories.window(region).pk for region in ("Americas", "ADGM", "AsiaPacific")]  # type: ignore[arg-type]

    assert [each.id for each in client.windows(limit="1")] == sorted(windows, reverse=True)


def test_a_refusal_is_a_problem_with_its_code_and_fields(client: Client) -> None:
    with pytest.raises(Problem) as refused:
        client.window(999_999)

    assert (refused.value.status, refused.value.code) == (404, "unknown_window")
    assert refused.value.fields == {"window_id": 999_999}


def test_a_repeated_key_is_done_once(client: Client) -> None:
    first = client.open_window("Americas", key="k1")

    assert client.open_window("Americas", key="k1") == first
    with pytest.raises(Problem, match="window_already_open"):
        client.open_window("Americas")


def test_a_run_is_started_and_rolled_back(client: Client) -> None:
    factories.circle()
    window = factories.closed(factories.obligation())

    started = client.process(window.pk)

    assert started.operation_id in client.roll_back(window.pk, reason="test")
    assert client.window(window.pk).status == "RolledBack"


def test_limits_are_changed_only_where_they_were_seen(client: Client) -> None:
    factories.circle()
    seen = client.limits(A).tag
    cap = Limit("USD", "100.00")

    held = client.set_limits(A, [cap, Limit("USD", "7.00", counterparty=B)], seen=seen, reason="new member")

    assert client.limits(A) == held
    assert held.limits[0] == cap
    with pytest.raises(Problem, match="limits_changed"):
        client.set_limits(A, [], seen=seen)
    assert client.set_limits(A, [], seen="*").limits == []


def test_an_answer_of_a_proxy_is_a_problem_too() -> None:
    proxy = httpx.MockTransport(
        lambda _: httpx.Response(502, text="bad gateway", headers={"Retry-After": "7"})
    )

    with Client("http://x", "t", transport=proxy) as client, pytest.raises(Problem) as refused:
        client.window(1)

    assert (refused.value.status, refused.value.retry_after_seconds) == (502, 7)


def test_the_client_needs_neither_django_nor_the_engine() -> None:
    names = "('django', 'celery', 'clearing.models')"
    code = f"import clearing.client, sys; print([each for each in {names} if each in sys.modules])"

    asked = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert asked.stdout.strip() == "[]"
