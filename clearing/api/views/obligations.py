"""Obligations: taken in bulk, and read back."""

from collections.abc import Callable
from typing import ClassVar
from uuid import UUID

from django.db.models import Q
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample
from rest_framework.request import Request
from rest_framework.response import Response

from clearing import obligations, operations, queries, windows
from clearing.access import EVERYONE, SUBMITTERS
from clearing.api import bodies, intake, obligation_shapes, obligation_wire, parameters, wire
from clearing.api.idempotency import idempotent
from clearing.api.pagination import page
from clearing.api.permissions import own_participant
from clearing.api.schema import CURRENCY, described, query, ref
from clearing.api.views.base import Door
from clearing.models import Obligation, SetAside
from clearing.obligations import acts, calls
from clearing.obligations.calls import SubmitObligations
from clearing.obligations.items import NoItems, TooManyItems
from clearing.obligations.rows import CsvHeaderInvalid, CsvNotUtf8
from clearing.states import ObligationState, Region
from settlement.participants import UnknownParticipant

TAG = "obligations"
JSON_EXAMPLE = OpenApiExample(
    "two obligations",
    media_type=bodies.JSON,
    request_only=True,
    value={
        "region": "Global",
        "on_error": "all_or_nothing",
        "obligations": [
            {
                "reference": "INV-2026-0001",
                "payer": "ALPHBEBB",
                "payee": "BETADEFF",
                "currency": "EUR",
                "amount": "1000.00",
            },
            {
                "reference": "INV-2026-0002",
                "payer": "BETADEFF",
                "payee": "ALPHBEBB",
                "currency": "JPY",
                "amount": "250000",
                "due_date": "2026-03-31",
                "priority": 10,
            },
        ],
    },
)
CSV_EXAMPLE = OpenApiExample(
    "the same as a file",
    media_type=bodies.CSV,
    request_only=True,
    value="reference,payer,payee,currency,amount\r\nINV-2026-0001,ALPHBEBB,BETADEFF,EUR,1000.00\r\n",
)
CSV_SCHEMA = {
    "type": "string",
    "description": "header `reference,payer,payee,currency,amount`, optionally"
    " `region,due_date,not_before,priority,link`; UTF-8",
}


class Obligations(Door):
    """``obligations``"""

    access: ClassVar = {"GET": EVERYONE, "POST": SUBMITTERS}

    @described(
        "obligations_list",
        "List obligations, by window",
        wire.Page[obligation_wire.Obligation],
        parameters=[
            query("window", "of this window only", kind=OpenApiTypes.INT64),
            query("participant", "that this participant owes or is owed"),
            CURRENCY,
            query("reference", "of this reference; needs a window"),
            query(
                "state",
                "InWindow if left out; otherwise those set aside, with *window* those it was sent to",
                enum=ObligationState.values,
            ),
        ],
        errors=[windows.UnknownWindow, UnknownParticipant],
        is_list=True,
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        names = ("window", "participant", "currency", "reference", "state", "cursor", "limit")
        parameters.only(request, *names)
        window_id = parameters.number(request, "window")
        of_window = None if window_id is None else windows.get(window_id).pk
        wanted = _wanted(request, of_window)
        state = parameters.choice(request, "state", ObligationState) or ObligationState.IN_WINDOW
        if state == ObligationState.IN_WINDOW:
            rows = Obligation.objects.select_related("window", "payer", "payee", "currency").filter(wanted)
            rows = rows if of_window is None else rows.filter(window_id=of_window)
            return Response(page(request, rows, obligation_shapes.obligation, key=["window_id", "id"]))
        apart = SetAside.objects.select_related("payer", "payee", "currency").filter(wanted, status=state)
        apart = apart if of_window is None else apart.filter(origin_window_id=of_window)
        return Response(page(request, apart, obligation_shapes.obligation, key=["id"]))

    @described(
        "obligations_submit",
        "Take up to 10,000 obligations into the accepting window, or aside until theirs; 200 if none was new",
        obligation_wire.IntakeAnswer,
        status=201,
        more={200: obligation_wire.IntakeAnswer},
        body={bodies.JSON: ref(SubmitObligations), bodies.CSV: CSV_SCHEMA},
        parameters=[
            query("region", "of a CSV: its region; Global if left out", enum=Region.values),
            query("on_error", "of a CSV: as in JSON", enum=intake.ON_ERROR),
        ],
        errors=[
            windows.UnknownRegion,
            windows.NoAcceptingWindow,
            windows.UnknownWindow,
            calls.WindowElsewhere,
            NoItems,
            TooManyItems,
            obligations.ObligationsRejected,
            obligations.ObligationsConflict,
            CsvHeaderInvalid,
            CsvNotUtf8,
            parameters.ParameterInvalid,
        ],
        examples=[JSON_EXAMPLE, CSV_EXAMPLE],
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        own = own_participant(request)
        taken = calls.take(intake.read(request), owner=own.code if own else None, at=timezone.now())
        new = (obligations.OutcomeStatus.ACCEPTED, obligations.OutcomeStatus.PARKED)
        is_new = any(outcome.status in new for outcome in taken.outcomes)
        return Response(taken.as_json(), 201 if is_new else 200)


class OneObligation(Door):
    """``obligations/{obligation_id}``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "obligations_show",
        "Show an obligation and how it is discharged",
        obligation_wire.ObligationDetail,
        errors=[queries.UnknownObligation],
        tag=TAG,
    )
    def get(self, request: Request, obligation_id: UUID) -> Response:
        parameters.only(request)
        own = own_participant(request)
        row = queries.obligation(obligation_id, of=own.pk if own else None)
        return Response(obligation_shapes.obligation_detail(row, own=own))


def _wanted(request: Request, window_id: int | None) -> Q:
    """Select by the list's filters and to what the caller may see."""
    wanted = Q()
    if currency := parameters.currency(request):
        wanted &= Q(currency__code=currency)
    if reference := parameters.text(request, "reference"):
        if window_id is None:  # it would read every window there ever was
            raise parameters.ParameterInvalid("reference", "needs a window to look in")
        wanted &= Q(reference=parameters.printable("reference", reference))
    for party in (own_participant(request), parameters.member(request)):
        if party is not None:
            wanted &= Q(payer_id=party.pk) | Q(payee_id=party.pk)
    return wanted


def _acting(
    act: Callable[..., Obligation | SetAside], request: Request, key: UUID
) -> obligation_wire.ObligationDetail:
    """Let the caller act on the obligation, for the reason in the body; show it as it is then."""
    parameters.only(request)
    own = own_participant(request)
    reason = operations.reason_given(bodies.read(request, bodies.ActOn).reason)
    by = acts.Actor(own.code if own else request.user.get_username(), own)
    act(key, by=by, reason=reason, at=timezone.now())
    return obligation_shapes.obligation_detail(queries.obligation(key), own=own)


class Cancel(Door):
    """``obligations/{obligation_id}/cancel``"""

    access: ClassVar = {"POST": SUBMITTERS}

    @described(
        "obligations_cancel",
        "Cancel an obligation that its window has not closed over",
        obligation_wire.ObligationDetail,
        body={bodies.JSON: ref(bodies.ActOn)},
        errors=[
            queries.UnknownObligation,
            acts.NotTheSubmitter,
            acts.CutoffPassed,
            operations.ReasonInvalid,
        ],
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, obligation_id: UUID) -> Response:
        return Response(_acting(acts.cancel, request, obligation_id))


class Hold(Door):
    """``obligations/{obligation_id}/hold``"""

    access: ClassVar = {"POST": SUBMITTERS}

    @described(
        "obligations_hold",
        "Dispute an obligation: keep it out of netting until it is released",
        obligation_wire.ObligationDetail,
        body={bodies.JSON: ref(bodies.ActOn)},
        errors=[
            queries.UnknownObligation,
            acts.CutoffPassed,
            acts.ObligationCancelled,
            acts.ObligationHeld,
            operations.ReasonInvalid,
        ],
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, obligation_id: UUID) -> Response:
        return Response(_acting(acts.hold, request, obligation_id))


class Release(Door):
    """``obligations/{obligation_id}/release``"""

    access: ClassVar = {"POST": SUBMITTERS}

    @described(
        "obligations_release",
        "Release a held obligation into the region's accepting window",
        obligation_wire.ObligationDetail,
        body={bodies.JSON: ref(bodies.ActOn)},
        errors=[
            queries.UnknownObligation,
            acts.NotTheHolder,
            acts.ObligationNotHeld,
            operations.ReasonInvalid,
        ],
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, obligation_id: UUID) -> Response:
        return Response(_acting(acts.release, request, obligation_id))
