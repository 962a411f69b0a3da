"""``manage.py tour_window``: drive a window over gRPC on a running stack; compare what listeners hear."""

import os
import time
from collections.abc import Callable
from typing import Any

import grpc
import httpx
from django.conf import settings
from django.core.management.base import CommandError

from clearing import access
from clearing.management import listeners
from clearing.management.base import ClearingCommand
from clearing.management.listeners import Heard, Listener
from clearing.models import WebhookEndpoint
from clearing.rpc.pb import clearing_pb2 as pb
from clearing.rpc.pb import clearing_pb2_grpc
from clearing.states import Region

REGION = Region.ASIA_PACIFIC.value  # without a schedule: nothing else happens there
PAYER, PAYEE = "HALYUS30", "RHENDE50XXX"
PATIENCE_SECONDS = 60.0
EXPECTED = ["Opened", "Closing", "Closed", "Processing", "Completed"]


class Command(ClearingCommand):
    help = "Drive a window from open to completed over gRPC; exit status 0 if all listeners heard the same."

    def handle(self, *args: Any, **options: Any) -> None:
        token = access.issue("tour", role="operator")
        metadata = (("authorization", f"Bearer {token}"),)
        with grpc.insecure_channel(os.environ["GRPC_ADDRESS"]) as channel:
            service: Any = clearing_pb2_grpc.ClearingServiceStub(channel)  # type: ignore[no-untyped-call]
            ears = [
                listeners.stream(self._tell, service, REGION, metadata),
                listeners.subscription(self._tell, settings.NATS_URL, REGION),
                listeners.webhook(self._tell, REGION),
            ]
            try:
                window_id = self._drive(service, metadata, token)
                heard = [_heard(ear, window_id) for ear in ears]
            finally:
                WebhookEndpoint.objects.filter(name="tour").update(is_active=False)
        self.stdout.write("")
        for ear, events in zip(ears, heard, strict=True):
            self.stdout.write(f"  {ear.name:<12}{' '.join(events)}")
        if any(events != EXPECTED for events in heard):
            raise CommandError("they did not hear the same")
        self.stdout.write("\nall three heard the same, in order")

    def _drive(self, service: Any, metadata: Any, token: str) -> int:
        """Open, fill, close and clear a window; return its id once it is completed."""

        def call(method: str, request: Any) -> Any:
            answer = getattr(service, method)(request, metadata=metadata, timeout=20)
            self.stdout.write(f"gRPC {method}: {getattr(answer, 'message', '') or answer.status}")
            return answer

        try:  # what an earlier tour left open
            left = service.GetCurrentWindow(pb.GetCurrentWindowRequest(region=REGION), metadata=metadata)
            call("ForceCloseWindow", pb.ForceCloseWindowRequest(window_id=left.window.id, reason="tour"))
        except grpc.RpcError as refusal:
            if refusal.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        window_id: int = call("OpenNewWindow", pb.OpenNewWindowRequest(region=REGION)).window.id
        _submit(token)
        call("ForceCloseWindow", pb.ForceCloseWindowRequest(window_id=window_id, reason="tour"))
        call("ProcessWindow", pb.ProcessWindowRequest(window_id=window_id))
        status = pb.GetWindowStatusRequest(window_id=window_id)
        _until(
            lambda: service.GetWindowStatus(status, metadata=metadata).status in ("Completed", "RolledBack")
        )
        result = call("GetProcessingResult", pb.GetProcessingResultRequest(window_id=window_id))
        for error in result.errors:
            self.stdout.write(f"  {error.error_type}: {error.message}")
        for leg in result.settlement_instructions:
            self.stdout.write(f"  {leg.from_bank} pays {leg.to_bank} {leg.amount} {leg.currency}")
        return window_id

    def _tell(self, name: str, event: Heard) -> None:
        self.stdout.write(f"  {name:<12}window {event.window_id} #{event.sequence} {event.event_type}")
        self.stdout.flush()


def _submit(token: str) -> None:
    """Two obligations, over REST: gRPC drives windows and takes no obligations."""
    items = [
        {
            "reference": f"tour-{time.time_ns()}",
            "payer": payer,
            "payee": payee,
            "currency": "USD",
            "amount": much,
        }
        for payer, payee, much in ((PAYER, PAYEE, "100.00"), (PAYEE, PAYER, "60.00"))
    ]
    answer = httpx.post(
        f"{os.environ['HTTP_URL']}/api/v1/clearing/obligations",
        json={"region": REGION, "obligations": items},
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    )
    if answer.status_code != 201:
        raise CommandError(answer.text)


def _heard(ear: Listener, window_id: int) -> list[str]:
    """Wait until the listener has heard the end, and return all it heard of the window."""

    def events() -> list[str]:
        return [each.event_type for each in ear.heard if each.window_id == window_id]

    _until(lambda: len(events()) >= len(EXPECTED))
    return events()


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.1)
