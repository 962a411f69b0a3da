"""Send settled money back."""

from typing import ClassVar

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from clearing import corrections, operations, windows
from clearing.access import OPERATORS
from clearing.api import bodies, parameters, wire
from clearing.api.idempotency import idempotent
from clearing.api.permissions import caller
from clearing.api.schema import described, ref
from clearing.api.views.base import Door
from settlement.accounts import InsufficientFunds
from settlement.corrections import (
    AlreadyCorrected,
    CorrectionUnbalanced,
    InstructionNotInBatch,
    InstructionNotSettled,
    NothingToCorrect,
)
from settlement.models import SettlementInstruction


class Correct(Door):
    """``windows/{window_id}/correct``"""

    access: ClassVar = {"POST": OPERATORS}

    @described(
        "windows_correct",
        "Send back what a completed window settled, by opposite instructions",
        wire.Corrected,
        status=201,
        body={bodies.JSON: ref(bodies.Correct)},
        errors=[
            windows.UnknownWindow,
            corrections.NotSettled,
            InstructionNotInBatch,
            InstructionNotSettled,
            AlreadyCorrected,
            NothingToCorrect,
            CorrectionUnbalanced,
            InsufficientFunds,
            operations.ReasonInvalid,
        ],
        tag="windows",
    )
    @idempotent
    def post(self, request: Request, window_id: int) -> Response:
        parameters.only(request)
        body, now = bodies.read(request, bodies.Correct), timezone.now()
        operation = corrections.correct(
            windows.get(window_id),
            at=now,
            reason=operations.reason_given(body.reason),
            by=caller(request).user.get_username(),
            instruction_ids=body.instructions,
        )
        count = SettlementInstruction.objects.filter(batch_id=operation.pk).count()
        return Response(wire.Corrected(window_id, operation.pk, now, count), 201)
