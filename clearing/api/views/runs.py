"""What clearing a window did: result, positions, events, operations."""

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from clearing import queries, steps, windows
from clearing.access import EVERYONE, STAFF
from clearing.api import expanded, parameters, shapes, wire
from clearing.api.pagination import page
from clearing.api.permissions import own_participant
from clearing.api.schema import CURRENCY, described, expand, query
from clearing.api.views.base import Door
from clearing.models import AtomicOperation, BilateralPosition, MultilateralPosition, WindowEvent
from clearing.states import EventType, OperationStatus, OperationType
from settlement.models import Participant
from settlement.participants import UnknownParticipant

KINDS = ("multilateral", "bilateral")
TAG = "runs"


class Result(Door):
    """``windows/{window_id}/result``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "windows_result",
        "Show what clearing the window gave",
        wire.Result,
        errors=[windows.UnknownWindow],
        tag=TAG,
    )
    def get(self, request: Request, window_id: int) -> Response:
        parameters.only(request)
        return Response(shapes.result(windows.get(window_id), own=own_participant(request)))


class Positions(Door):
    """``windows/{window_id}/positions``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "windows_positions",
        "List the run's net positions, per participant or per pair",
        (wire.Page[wire.Position], wire.Page[wire.BilateralPosition]),
        parameters=[
            query("kind", "per participant (multilateral, the default) or per pair", enum=KINDS),
            CURRENCY,
            query("participant", "of this participant only, alone or in a pair"),
        ],
        errors=[windows.UnknownWindow, UnknownParticipant],
        is_list=True,
        tag=TAG,
    )
    def get(self, request: Request, window_id: int) -> Response:
        parameters.only(request, "kind", "currency", "participant", "cursor", "limit")
        kind = parameters.one_of(request, "kind", KINDS, default="multilateral")
        found, currency = queries.positions(windows.get(window_id)), parameters.currency(request)
        of = [each for each in (own_participant(request), parameters.member(request)) if each]
        shown: wire.Page[Any]
        if kind == "multilateral":
            key = ["currency__code", "participant__code"]
            shown = page(request, _multilateral(found, of, currency), shapes.position, key=key)
        else:
            key = ["currency__code", "participant_a__code", "participant_b__code"]
            shown = page(request, _bilateral(found, of, currency), shapes.bilateral, key=key)
        return Response(shown)


class Events(Door):
    """``windows/{window_id}/events``"""

    access: ClassVar = {"GET": STAFF}

    @described(
        "windows_events",
        "List what happened to the window, in order",
        wire.Page[wire.Event],
        parameters=[query("type", "of this type only", enum=EventType.values)],
        errors=[windows.UnknownWindow],
        is_list=True,
        tag=TAG,
    )
    def get(self, request: Request, window_id: int) -> Response:
        parameters.only(request, "type", "cursor", "limit")
        events = WindowEvent.objects.filter(window=windows.get(window_id)).select_related("window")
        if kind := parameters.choice(request, "type", EventType):
            events = events.filter(event_type=kind)
        return Response(page(request, events, shapes.event, key=["sequence"]))


class WindowOperations(Door):
    """``windows/{window_id}/operations``"""

    access: ClassVar = {"GET": STAFF}

    @described(
        "windows_operations",
        "List the window's operations with their checkpoints, the latest first",
        wire.Page[wire.Operation],
        parameters=[
            query("type", "of this type only", enum=OperationType.values),
            query("status", "in this status only", enum=OperationStatus.values),
        ],
        errors=[windows.UnknownWindow],
        is_list=True,
        tag=TAG,
    )
    def get(self, request: Request, window_id: int) -> Response:
        parameters.only(request, "type", "status", "cursor", "limit")
        rows = AtomicOperation.objects.filter(window=windows.get(window_id)).prefetch_related("checkpoints")
        if kind := parameters.choice(request, "type", OperationType):
            rows = rows.filter(operation_type=kind)
        if status := parameters.choice(request, "status", OperationStatus):
            rows = rows.filter(status=status)
        return Response(page(request, rows, shapes.operation, key=["-created_at", "id"]))


class OneOperation(Door):
    """``operations/{operation_id}``"""

    access: ClassVar = {"GET": STAFF}

    @described(
        "operations_show",
        "Show an operation with its checkpoints",
        expanded.OperationExpanded,
        parameters=[expand(*expanded.OF_AN_OPERATION)],
        errors=[steps.UnknownOperation, parameters.ParameterInvalid],
        tag=TAG,
    )
    def get(self, request: Request, operation_id: UUID) -> Response:
        parameters.only(request, "expand")
        return Response(expanded.operation(request, steps.get(operation_id)))


def _multilateral(
    found: queries.Positions, of: Sequence[Participant], currency: str | None
) -> QuerySet[MultilateralPosition]:
    rows = found.multilateral if currency is None else found.multilateral.filter(currency__code=currency)
    for each in of:
        rows = rows.filter(participant=each)
    return rows


def _bilateral(
    found: queries.Positions, of: Sequence[Participant], currency: str | None
) -> QuerySet[BilateralPosition]:
    rows = found.bilateral if currency is None else found.bilateral.filter(currency__code=currency)
    for each in of:
        rows = rows.filter(Q(participant_a=each) | Q(participant_b=each))
    return rows
