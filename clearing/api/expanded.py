"""``?expand=``: what belongs to a thing, in the same answer."""

from typing import TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from rest_framework.request import Request

from clearing.access import STAFF
from clearing.api import parameters, shapes, wire
from clearing.api.pagination import LIMIT
from clearing.api.permissions import RoleMissing, own_participant
from clearing.models import ApiToken, AtomicOperation, ClearingWindow
from settlement.models import Execution, SettlementInstruction

Wide = TypeVar("Wide", bound=msgspec.Struct)

OF_A_WINDOW = ("result", "operations")
OF_AN_OPERATION = ("window",)
OF_AN_INSTRUCTION = ("executions",)


class WindowExpanded(wire.WindowDetail):
    """A window; with *result* and its latest *operations* where they are asked for."""

    result: wire.Result | UnsetType = UNSET
    operations: list[wire.Operation] | UnsetType = UNSET


class OperationExpanded(wire.Operation):
    """An operation; with its *window* where it is asked for."""

    window: wire.Window | UnsetType = UNSET


class InstructionExpanded(wire.Instruction):
    """An instruction; with its *executions*, the attempts at an outside engine, where they are asked for."""

    executions: list[wire.Execution] | UnsetType = UNSET


def window(request: Request, row: ClearingWindow) -> WindowExpanded:
    """
    Show a window with what the request asks for.

    Raises:
        ParameterInvalid
        RoleMissing: operations are for those who see every participant's figures.
    """
    wanted = parameters.several(request, "expand", OF_A_WINDOW)
    shown = _widened(WindowExpanded, shapes.window_detail(row))
    if "result" in wanted:
        shown.result = shapes.result(row, own=own_participant(request))
    if "operations" in wanted:
        assert isinstance(request.auth, ApiToken), "the door is for bearers of tokens"
        if request.auth.role not in STAFF:
            raise RoleMissing(request.auth.role, ", ".join(sorted(STAFF)))
        latest = AtomicOperation.objects.filter(window=row).prefetch_related("checkpoints")
        shown.operations = [shapes.operation(each) for each in latest.order_by("-created_at", "id")[:LIMIT]]
    return shown


def operation(request: Request, row: AtomicOperation) -> OperationExpanded:
    """
    Show an operation with what the request asks for.

    Raises:
        ParameterInvalid
    """
    shown = _widened(OperationExpanded, shapes.operation(row))
    if "window" in parameters.several(request, "expand", OF_AN_OPERATION):
        shown.window = shapes.window(row.window)
    return shown


def instruction(
    request: Request, row: SettlementInstruction, *, with_executions: bool = False
) -> InstructionExpanded:
    """
    Show an instruction with what the request asks for; attempts in order, none on our own ledger.

    Raises:
        ParameterInvalid
    """
    run = AtomicOperation.objects.filter(pk=row.batch_id).first()  # settlement knows a batch, no windows
    shown = _widened(InstructionExpanded, shapes.instruction(row, window_id=run.window_id if run else None))
    if with_executions or "executions" in parameters.several(request, "expand", OF_AN_INSTRUCTION):
        is_told = own_participant(request) is None
        attempts = Execution.objects.filter(instruction_id=row.pk).order_by("attempt")
        shown.executions = [shapes.execution(each, is_told=is_told) for each in attempts]
    return shown


def _widened(kind: type[Wide], narrow: msgspec.Struct) -> Wide:
    return kind(**{name: getattr(narrow, name) for name in narrow.__struct_fields__})
