"""The limits of a participant, read and replaced as one."""

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from clearing import operations
from clearing.access import EVERYONE, OPERATORS
from clearing.api import bodies, conditional, parameters, shapes, wire
from clearing.api.errors import IfMatchMissing
from clearing.api.permissions import caller, member
from clearing.api.schema import described, ref
from clearing.api.views.base import Door
from clearing.models import Limit
from clearing.obligations import set_limits
from clearing.obligations.set_limits import LimitInvalid, LimitsChanged, Setter, Wanted
from settlement.participants import UnknownParticipant

TAG = "settlement"


class Limits(Door):
    """``participants/{code}/limits``"""

    access: ClassVar = {"GET": EVERYONE, "PUT": OPERATORS}

    @described(
        "limits_show",
        "Show the limits of a participant that hold",
        wire.LimitSet,
        is_tagged=True,
        errors=[UnknownParticipant],
        tag=TAG,
    )
    def get(self, request: Request, code: str) -> Response:
        parameters.only(request)
        return _answer(request, set_limits.active(member(request, code)))

    @described(
        "limits_replace",
        "Replace the limits of a participant by others, if they are still those that were read",
        wire.LimitSet,
        body={bodies.JSON: ref(bodies.SetLimits)},
        is_tagged=True,
        errors=[
            IfMatchMissing,
            LimitsChanged,
            LimitInvalid,
            UnknownParticipant,
            operations.ReasonInvalid,
        ],
        tag=TAG,
    )
    def put(self, request: Request, code: str) -> Response:
        parameters.only(request)
        seen, body = conditional.seen(request), bodies.read(request, bodies.SetLimits)
        holding = set_limits.replace(
            member(request, code),
            [Wanted(each.counterparty, each.currency, each.limit) for each in body.limits],
            seen=seen,
            by=Setter(caller(request).user_id, operations.reason_given(body.reason, is_required=False)),
        )
        return _answer(request, holding)


def _answer(request: Request, limits: list[Limit]) -> Response:
    shown = wire.LimitSet([shapes.limit(each) for each in limits])
    return conditional.answer(request, shown, set_limits.tag(limits))
