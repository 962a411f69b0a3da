"""Obligations: taken in bulk, and read back."""

from typing import ClassVar
from uuid import UUID

from django.db.models import Q
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample
from rest_framework.request import Request
from rest_framework.response import Response

from clearing import obligations, queries, windows
from clearing.access import EVERYONE, SUBMITTERS
from clearing.api import bodies, intake, obligation_shapes, obligation_wire, parameters, wire
from clearing.api.idempotency import idempotent
from clearing.api.pagination import page
from clearing.api.permissions import own_participant
from clearing.api.schema import CURRENCY, described, query, ref
from clearing.api.views.base import Door
from clearing.models import Obligation
from clearing.obligations import calls
from clearing.obligations.calls import SubmitObligations
from clearing.obligations.items import NoItems, TooManyItems
from clearing.obligations.rows import CsvHeaderInvalid, CsvNotUtf8
from clearing.states import Region
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
        ],
        errors=[windows.UnknownWindow, UnknownParticipant],
        is_list=True,
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        parameters.only(request, "window", "participant", "currency", "reference", "cursor", "limit")
        rows = Obligation.objects.select_related("window", "payer", "payee", "currency")
        if (window_id := parameters.number(request, "window")) is not None:
            rows = rows.filter(window_id=windows.get(window_id).pk)
        if currency := parameters.currency(request):
            rows = rows.filter(currency__code=currency)
        if reference := parameters.text(request, "reference"):
            if window_id is None:  # it would read every window there ever was
                raise parameters.ParameterInvalid("reference", "needs a window to look in")
            rows = rows.filter(reference=parameters.printable("reference", reference))
        for party in (own_participant(request), parameters.member(request)):
            if party is not None:
                rows = rows.filter(Q(payer_id=party.pk) | Q(payee_id=party.pk))
        return Response(page(request, rows, obligation_shapes.obligation, key=["window_id", "id"]))

    @described(
        "obligations_submit",
        "Take up to 10,000 obligations into the region's accepting window; 200 if none was new",
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
        is_new = taken.count(obligations.OutcomeStatus.ACCEPTED) > 0
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
