"""Instructions, participants and their accounts."""

import hashlib
from typing import ClassVar
from uuid import UUID

import msgspec
from django.db.models import Q
from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request
from rest_framework.response import Response

from clearing import queries, windows
from clearing.access import EVERYONE
from clearing.api import conditional, expanded, parameters, shapes, wire
from clearing.api.pagination import page
from clearing.api.permissions import member, own_participant
from clearing.api.schema import CURRENCY, described, expand, query
from clearing.api.views.base import Door
from clearing.models import AtomicOperation
from clearing.obligations import set_limits
from settlement.models import Participant, SettlementAccount, SettlementInstruction
from settlement.participants import UnknownParticipant
from settlement.states import InstructionStatus, ParticipantKind, ParticipantStatus

TAG = "settlement"


class Instructions(Door):
    """``instructions``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "instructions_list",
        "List settlement instructions, the latest first",
        wire.Page[wire.Instruction],
        parameters=[
            query("window", "of this window's run only", kind=OpenApiTypes.INT64),
            query(
                "operation", "issued by this operation only: a run or a correction", kind=OpenApiTypes.UUID
            ),
            query("status", "in this status only", enum=InstructionStatus.values),
            CURRENCY,
            query("participant", "that this participant pays or receives"),
        ],
        errors=[windows.UnknownWindow, UnknownParticipant],
        is_list=True,
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        parameters.only(
            request, "window", "operation", "status", "currency", "participant", "cursor", "limit"
        )
        parties = SettlementInstruction.objects.select_related("payer", "payee", "currency")
        rows = queries.with_corrections(parties)
        if (window_id := parameters.number(request, "window")) is not None:
            rows = queries.instructions(windows.get(window_id))
        if operation_id := parameters.uuid(request, "operation"):
            rows = rows.filter(batch_id=operation_id)
        if status := parameters.choice(request, "status", InstructionStatus):
            rows = rows.filter(status=status)
        if currency := parameters.currency(request):
            rows = rows.filter(currency__code=currency)
        for party in (own_participant(request), parameters.member(request)):
            if party is not None:
                rows = rows.filter(Q(payer=party) | Q(payee=party))
        shown = page(request, rows, lambda row: shapes.instruction(row, window_id=None), key=KEY)
        window_ids = _window_ids({row.operation_id for row in shown.results})
        for instruction in shown.results:
            instruction.window_id = window_ids.get(instruction.operation_id)
        return Response(shown)


class OneInstruction(Door):
    """``instructions/{instruction_id}``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "instructions_show",
        "Show a settlement instruction",
        expanded.InstructionExpanded,
        parameters=[expand(*expanded.OF_AN_INSTRUCTION)],
        errors=[queries.UnknownInstruction],
        tag=TAG,
    )
    def get(self, request: Request, instruction_id: UUID) -> Response:
        parameters.only(request, "expand")
        own = own_participant(request)
        row = queries.instruction(instruction_id, of=own.pk if own else None)
        return Response(expanded.instruction(request, row))


class Participants(Door):
    """``participants``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "participants_list",
        "List participants; a participant sees itself",
        wire.Page[wire.Participant],
        parameters=[query("status", "in this status only", enum=ParticipantStatus.values)],
        is_list=True,
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        parameters.only(request, "status", "cursor", "limit")
        rows = Participant.objects.filter(kind=ParticipantKind.MEMBER)
        if status := parameters.choice(request, "status", ParticipantStatus):
            rows = rows.filter(status=status)
        if own := own_participant(request):
            rows = rows.filter(pk=own.pk)
        return Response(page(request, rows, shapes.participant, key=["code"]))


class OneParticipant(Door):
    """``participants/{code}``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "participants_show",
        "Show a participant with its accounts and their limits",
        wire.ParticipantDetail,
        is_tagged=True,
        errors=[UnknownParticipant],
        tag=TAG,
    )
    def get(self, request: Request, code: str) -> Response:
        parameters.only(request)
        found = member(request, code)
        accounts = SettlementAccount.objects.filter(participant=found).select_related(
            "participant", "currency"
        )
        limits = set_limits.active(found)
        shown = shapes.participant_detail(found, accounts.order_by("currency__code"), limits)
        whole = hashlib.sha256(msgspec.json.encode(shown)).hexdigest()[: set_limits.TAG_LENGTH]
        return conditional.answer(request, shown, f"{set_limits.tag(limits)}.{whole}")


class Accounts(Door):
    """``accounts``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "accounts_list",
        "List settlement accounts; a participant sees its own",
        wire.Page[wire.Account],
        parameters=[query("participant", "of this participant only"), CURRENCY],
        errors=[UnknownParticipant],
        is_list=True,
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        parameters.only(request, "participant", "currency", "cursor", "limit")
        rows = SettlementAccount.objects.select_related("participant", "currency")
        if currency := parameters.currency(request):
            rows = rows.filter(currency__code=currency)
        for party in (own_participant(request), parameters.member(request)):
            if party is not None:
                rows = rows.filter(participant=party)
        key = ["participant__code", "currency__code"]
        return Response(page(request, rows, shapes.account, key=key))


KEY = ["-created_at", "currency__code", "payer__code", "payee__code", "id"]


def _window_ids(operation_ids: set[UUID]) -> dict[UUID, int]:
    """Find the windows of batches: settlement knows a batch, and nothing of windows."""
    return dict(AtomicOperation.objects.filter(pk__in=operation_ids).values_list("pk", "window_id"))
