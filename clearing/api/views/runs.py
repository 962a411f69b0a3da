"""What clearing a window did: result, positions, events, operations."""

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from clearing import queries, steps, windows
from clearing.access import EVERYONE, STAFF
from clearing.api import parameters, shapes, wire
from clearing.api.pagination import page
from clearing.api.permissions import own_participant
from clearing.api.schema import described, query
from clearing.api.views.base import Door
from clearing.models import AtomicOperation, BilateralPosition, MultilateralPosition, WindowEvent
from settlement.models import Participant

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
        parameters=[query("kind", "per participant (multilateral, the default) or per pair", enum=KINDS)],
        errors=[windows.UnknownWindow],
        is_list=True,
        tag=TAG,
    )
    def get(self, request: Request, window_id: int) -> Response:
        parameters.only(request, "kind", "cursor", "limit")
        kind = parameters.one_of(request, "kind", KINDS, default="multilateral")
        found, own = queries.positions(windows.get(window_id)), own_participant(request)
        shown: wire.Page[Any]
        if kind == "multilateral":
            key = ["currency__code", "participant__code"]
            shown = page(request, _multilateral(found, own), shapes.position, key=key)
        else:
            key = ["currency__code", "participant_a__code", "participant_b__code"]
            shown = page(request, _bilateral(found, own), shapes.bilateral, key=key)
        return Response(shown)


class Events(Door):
    """``windows/{window_id}/events``"""

    access: ClassVar = {"GET": STAFF}

    @described(
        "windows_events",
        "List what happened to the window, in order",
        wire.Page[wire.Event],
        errors=[windows.UnknownWindow],
        is_list=True,
        tag=TAG,
    )
    def get(self, request: Request, window_id: int) -> Response:
        parameters.only(request, "cursor", "limit")
        events = WindowEvent.objects.filter(window=windows.get(window_id)).select_related("window")
        return Response(page(request, events, shapes.event, key=["sequence"]))


class WindowOperations(Door):
    """``windows/{window_id}/operations``"""

    access: ClassVar = {"GET": STAFF}

    @described(
        "windows_operations",
        "List the window's operations with their checkpoints, the latest first",
        wire.Page[wire.Operation],
        errors=[windows.UnknownWindow],
        is_list=True,
        tag=TAG,
    )
    def get(self, request: Request, window_id: int) -> Response:
        parameters.only(request, "cursor", "limit")
        rows = AtomicOperation.objects.filter(window=windows.get(window_id)).prefetch_related("checkpoints")
        return Response(page(request, rows, shapes.operation, key=["-created_at", "id"]))


class OneOperation(Door):
    """``operations/{operation_id}``"""

    access: ClassVar = {"GET": STAFF}

    @described(
        "operations_show",
        "Show an operation with its checkpoints",
        wire.Operation,
        errors=[steps.UnknownOperation],
        tag=TAG,
    )
    def get(self, request: Request, operation_id: UUID) -> Response:
        parameters.only(request)
        return Response(shapes.operation(steps.get(operation_id)))


def _multilateral(found: queries.Positions, own: Participant | None) -> QuerySet[MultilateralPosition]:
    return found.multilateral if own is None else found.multilateral.filter(participant=own)


def _bilateral(found: queries.Positions, own: Participant | None) -> QuerySet[BilateralPosition]:
    if own is None:
        return found.bilateral
    return found.bilateral.filter(Q(participant_a=own) | Q(participant_b=own))
