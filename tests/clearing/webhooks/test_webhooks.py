"""Webhooks: each event at least once, in order, signed, to public addresses alone; the dead when asked."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from clearing.events import facts, outbox
from clearing.models import ClearingWindow, WebhookDelivery, WebhookEndpoint, WindowEvent
from clearing.states import Region
from clearing.webhooks import delivery, sending, signing
from clearing.webhooks.sending import AddressRefused
from tests import factories
from tests.clearing.webhooks.receiver import Receiver
from tests.database import aside, refused, sql

CLOSING = facts.Closing(reason="test", emergency_mode=False)

pytestmark = pytest.mark.django_db


@pytest.fixture
def private() -> Iterator[None]:
    """Receivers of tests are on this machine."""
    with override_settings(WEBHOOKS_ALLOW_PRIVATE=True):
        yield


def endpoint(url: str = "https://receiver.example/", **fields: Any) -> WebhookEndpoint:
    made = WebhookEndpoint.objects.create(**{"name": url[-40:], "url": url, **fields})
    WebhookEndpoint.objects.update(created_at=timezone.now() - timedelta(days=1000))
    return made


def happen(window: ClearingWindow, *told: facts.Fact) -> None:
    for fact in told:
        outbox.append(window.pk, fact, at=timezone.now())


def one_round(send: delivery.Send = sending.send) -> int:
    delivery.plan(at=timezone.now())
    with ThreadPoolExecutor(2) as pool:
        return delivery.deliver(pool, send)


def rounds(send: delivery.Send = sending.send) -> None:
    while one_round(send):
        pass


def types(receiver: Receiver) -> list[tuple[int, str]]:
    bodies = [json.loads(body) for _, body in receiver.got]
    return [(body["sequence"], body["event_type"]) for body in bodies]


def due_again(**fields: Any) -> None:
    WebhookDelivery.objects.filter(**fields).update(next_at=timezone.now() - timedelta(seconds=1))


def test_every_event_arrives_in_order_with_a_signature_any_library_verifies(private: None) -> None:
    with Receiver() as receiver:
        there = endpoint(receiver.url)
        window = factories.window()
        happen(window, CLOSING, facts.Closed())

        rounds()

    assert types(receiver) == [(1, "Opened"), (2, "Closing"), (3, "Closed")]
    for headers, body in receiver.got:
        told = Webhook(signing.secret(there)).verify(body, headers)
        assert told["window_id"] == window.pk
        assert headers["webhook-id"] == told["event_id"]
        with pytest.raises(WebhookVerificationError):
            Webhook(signing.secret(there)).verify(body + b" ", headers)
    assert set(WebhookDelivery.objects.values_list("attempts", "answer")) == {(1, "204")}


def test_while_a_secret_is_replaced_both_verify(private: None) -> None:
    with Receiver() as receiver:
        there = endpoint(receiver.url)
        old = signing.secret(there)
        new = signing.rotate(there, at=timezone.now())
        factories.window()
        rounds()
    ((headers, body),) = receiver.got
    assert old != new
    for secret in (old, new):
        Webhook(secret).verify(body, headers)

    later = timezone.now() + signing.OVERLAP + timedelta(seconds=1)
    signed = signing.headers(there, event_id="e", body=b"", at=later)["webhook-signature"]
    assert len(signed.split()) == 1


def test_a_failure_holds_its_own_window_up_and_no_other() -> None:
    endpoint()
    first, second = factories.window(), factories.window(Region.ADGM)
    happen(first, CLOSING)
    happen(second, CLOSING)
    tried: list[tuple[int, int]] = []
    is_down = True

    def send(_url: str, _headers: Any, body: bytes) -> int:
        event = json.loads(body)
        tried.append((event["window_id"], event["sequence"]))
        return 500 if is_down and event["window_id"] == first.pk else 204

    rounds(send)
    assert sorted(tried) == [(first.pk, 1), (second.pk, 1), (second.pk, 2)]
    failing = WebhookDelivery.objects.get(event__window=first, event__sequence=1)
    assert (failing.answer, failing.attempts) == ("500", 1)
    assert failing.next_at > timezone.now() + timedelta(seconds=3)

    is_down = False
    due_again(pk=failing.pk)
    rounds(send)
    assert tried[3:] == [(first.pk, 1), (first.pk, 2)]
    assert not WebhookDelivery.objects.filter(delivered_at=None).exists()


def test_what_is_never_taken_is_given_up_and_sent_again_when_asked(
    private: None, admin_client: Client
) -> None:
    with Receiver(*[503] * 8) as receiver:
        endpoint(receiver.url)
        factories.window()
        for _ in range(8):
            one_round()
            due_again()
        assert one_round() == 0
        dead = WebhookDelivery.objects.get()
        assert (dead.status, dead.attempts) == ("Dead", 8)

        page = admin_client.get(reverse("admin:clearing_webhookdelivery_changelist"), {"status": "Dead"})
        assert b"503" in page.content
        admin_client.post(
            reverse("admin:clearing_webhookdelivery_changelist"),
            {"action": "replay", "_selected_action": [dead.pk]},
        )
        rounds()

    assert WebhookDelivery.objects.get().status == "Delivered"
    assert len(receiver.got) == 9


def test_gone_is_given_up_at_once_and_a_redirect_is_not_followed(private: None) -> None:
    with Receiver(410, 302) as receiver:
        endpoint(receiver.url)
        happen(factories.window(), CLOSING)
        one_round()
        one_round()

    first, second = WebhookDelivery.objects.order_by("event_id")
    assert (first.status, first.answer) == ("Dead", "410")
    assert (second.status, second.answer) == ("Waiting", "302")
    assert len(receiver.got) == 2


def test_nothing_listens_is_a_failure_like_any_other(private: None) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint(f"http://127.0.0.1:{nobody.getsockname()[1]}/")
        factories.window()
        rounds()

    assert WebhookDelivery.objects.get().answer.startswith("ConnectError")


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
        *("[::1]", "[fd00::1]", "[fe80::1]", "[::ffff:127.0.0.1]", "224.0.0.1"),
    ],
)
def test_an_address_that_is_not_public_is_refused(host: str) -> None:
    with pytest.raises(AddressRefused, match="not public"):
        sending.check(f"https://{host}/")


@pytest.mark.parametrize(
    "url", ["http://receiver.example/", "https://user:password@receiver.example/", "ftp://x/"]
)
def test_a_url_that_is_no_https_or_names_a_user_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        sending.check(url)


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["1.1.1.1", "10.0.0.7"], ["::1"]])
def test_a_name_that_leads_inside_is_not_called(monkeypatch: pytest.MonkeyPatch, answers: list[str]) -> None:
    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in answers]

    def connect(*_: Any, **__: Any) -> None:
        raise AssertionError("it was called")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr("httpcore.SyncBackend.connect_tcp", connect)

    with pytest.raises(AddressRefused, match="not public"):
        sending.send("https://innocent.example/", {}, b"{}")


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def connect(_: Any, host: str, *__: Any, **___: Any) -> None:
        called.append(host)
        raise ConnectionError("far enough")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("1.1.1.1", 443))])
    monkeypatch.setattr("httpcore.SyncBackend.connect_tcp", connect)

    with pytest.raises(ConnectionError):
        sending.send("https://public.example/", {}, b"{}")

    assert called == ["1.1.1.1"]


def test_an_endpoint_is_told_of_its_region_and_while_it_is_active_alone(private: None) -> None:
    def nothing(*_: Any) -> int:
        return 200

    of_one, stopped = endpoint("https://a.example/", region=Region.ADGM), endpoint("https://b.example/")
    WebhookEndpoint.objects.filter(pk=stopped.pk).update(is_active=False)
    factories.window(), factories.window(Region.ADGM)

    rounds(nothing)

    assert [each.event.window.region for each in WebhookDelivery.objects.all()] == ["ADGM"]
    WebhookEndpoint.objects.filter(pk=stopped.pk).update(is_active=True)
    rounds(nothing)
    assert of_one.deliveries.count() == 1
    assert stopped.deliveries.count() == WindowEvent.objects.count()


def test_planning_moves_on_and_plans_nothing_twice(private: None) -> None:
    there = endpoint()
    factories.window(opens_at=timezone.now())

    assert [delivery.plan(at=timezone.now()) for _ in range(2)] == [1, 0]
    there.refresh_from_db()
    assert there.planned_through == 0  # an older number may still be uncommitted
    assert delivery.plan(at=timezone.now() + timedelta(hours=1)) == 0
    there.refresh_from_db()
    assert there.planned_through == WindowEvent.objects.get().pk


def test_the_database_refuses_two_deliveries_of_an_event_and_one_both_delivered_and_dead() -> None:
    there = endpoint()
    factories.window()
    delivery.plan(at=timezone.now())
    one = WebhookDelivery.objects.get()

    with refused("one_delivery_per_event"):
        WebhookDelivery.objects.create(endpoint=there, event=one.event)
    with refused("delivered_or_dead"):
        sql("UPDATE clearing_webhookdelivery SET delivered_at = now(), dead_at = now()")


def test_a_second_process_stands_by() -> None:
    assert delivery._holds_lock()

    assert not aside(delivery._holds_lock)
    sql("SELECT pg_advisory_unlock_all()")


def test_an_operator_enters_an_endpoint_and_learns_its_secret(admin_client: Client, admin_user: User) -> None:
    add = reverse("admin:clearing_webhookendpoint_add")
    inside = {"name": "inside", "url": "https://10.0.0.1/", "is_active": "on"}
    assert b"not public" in admin_client.post(add, inside).content

    admin_client.post(add, inside | {"url": "https://receiver.example/hook"})
    made = WebhookEndpoint.objects.get()
    changes = reverse("admin:clearing_webhookendpoint_changelist")
    chosen = {"_selected_action": [made.pk]}

    shown = admin_client.post(changes, {"action": "show_secret", **chosen}, follow=True)
    assert signing.secret(made) in shown.content.decode()
    admin_client.post(changes, {"action": "rotate_secret", **chosen})
    made.refresh_from_db()
    assert made.secret_version == 2
    assert isinstance(made.previous_until, datetime)
