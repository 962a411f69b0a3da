"""Declare what became of an instruction whose engine will never tell."""

from typing import ClassVar
from uuid import UUID

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from clearing import interventions, operations, queries
from clearing.access import APPROVERS
from clearing.api import bodies, expanded, parameters
from clearing.api.idempotency import idempotent
from clearing.api.permissions import caller
from clearing.api.schema import described, ref
from clearing.api.views.base import Door
from settlement.rails.attempts import EngineAnswers, OutcomeKnown
from settlement.rails.executions import Answer, Outcome

OUTCOMES = {"Completed": Outcome.COMPLETED, "Failed": Outcome.FAILED}


class Declare(Door):
    """``instructions/{instruction_id}/declare``"""

    access: ClassVar = {"POST": APPROVERS}

    @described(
        "instructions_declare",
        "Declare the outcome of an instruction whose engine is gone for good",
        expanded.InstructionExpanded,
        body={bodies.JSON: ref(bodies.Declare)},
        errors=[queries.UnknownInstruction, OutcomeKnown, EngineAnswers, operations.ReasonInvalid],
        tag="settlement",
    )
    def post(self, request: Request, instruction_id: UUID) -> Response:
        parameters.only(request)
        body = bodies.read(request, bodies.Declare)
        operations.reason_given(body.reason)
        queries.instruction(instruction_id)
        # Outside the transaction of an Idempotency-Key: none is open while a message is under way.
        said = interventions.inquire(instruction_id, OUTCOMES[body.outcome], at=timezone.now())
        return self._declare(request, instruction_id=instruction_id, body=body, said=said)

    @idempotent
    def _declare(
        self, request: Request, instruction_id: UUID, body: bodies.Declare, said: Answer | None
    ) -> Response:
        interventions.declare(
            instruction_id,
            OUTCOMES[body.outcome],
            said=said,
            actor=caller(request).user.get_username(),
            reason=body.reason,
            at=timezone.now(),
        )
        row = queries.instruction(instruction_id)
        return Response(expanded.instruction(request, row, with_executions=True))
