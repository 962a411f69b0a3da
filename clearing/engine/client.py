"""Calls of the obligation engine; see proto/obligation.proto."""

from collections.abc import Iterator, Sequence

from django.conf import settings

from clearing.engine.pb import obligation_pb2 as pb
from clearing.engine.pb import obligation_pb2_grpc
from clearing.events.catalog import rfc3339
from clearing.models import ClearingWindow
from clearing_project import remote
from clearing_project.remote import Remote

NAME = "obligation engine"
STREAM_SECONDS = 100.0  # one stream; what it brought is kept, and the next one goes on behind it


def is_configured() -> bool:
    """Whether there is one."""
    return bool(settings.OBLIGATION_ENGINE_URL)


def engine() -> Remote:
    """The engine with its retries and its circuit breaker."""
    return remote.of(NAME)


def obligations(window: ClearingWindow, *, after: int) -> Iterator[pb.Obligation]:
    """
    Open one stream of what belongs in the window; call it within ``engine().call``.

    Raises:
        grpc.RpcError: while it is read.
    """
    request = pb.GetObligationsRequest(
        window_id=window.pk,
        after_sequence=after,
        region=window.region,
        cutoff_at=rfc3339(window.cutoff_at),
    )
    stream: Iterator[pb.Obligation] = _stub().GetObligations(request, timeout=STREAM_SECONDS)
    return stream


def netting(window_id: int, *, without: Sequence[str], with_: Sequence[str]) -> pb.NettingResponse:
    """
    Ask for the engine's own netting of the window.

    Raises:
        CircuitOpen, RemoteUnavailable, RemoteRefused
    """
    request = pb.CalculateNettingRequest(
        window_id=window_id, without_references=without, with_references=with_
    )

    def ask(timeout_seconds: float) -> pb.NettingResponse:
        answer: pb.NettingResponse = _stub().CalculateNetting(request, timeout=timeout_seconds)
        return answer

    return engine().call(ask)


def _stub() -> obligation_pb2_grpc.ObligationServiceStub:
    channel = remote.channel(settings.OBLIGATION_ENGINE_URL)
    return obligation_pb2_grpc.ObligationServiceStub(channel)  # type: ignore[no-untyped-call]
