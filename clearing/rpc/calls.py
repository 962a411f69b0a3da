"""The unary methods: translate in, one verb, translate out. They run in threads of the database."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from clearing import emergency, operations, pipeline, repeats, steps, windows
from clearing.models import AtomicOperation
from clearing.rpc import messages
from clearing.rpc.callers import Caller
from clearing.rpc.pb import clearing_pb2 as pb
from clearing.states import FINAL_WINDOW, OperationStatus
from clearing_project.errors import Invalid

ENDED = (OperationStatus.ROLLED_BACK, OperationStatus.ROLLBACK_FAILED, OperationStatus.FAILED)


class OperationIdInvalid(Invalid):
    """It is not an operation id."""

    code = "operation_id_invalid"
    fields = ("operation_id",)
    message = "{operation_id!r} is not a UUID."


@dataclass(frozen=True, slots=True)
class Calls:
    """Who calls, and when."""

    caller: Caller
    at: datetime

    def get_current_window(self, request: pb.GetCurrentWindowRequest) -> pb.WindowResponse:
        """
        Show the region's accepting window.

        Raises:
            UnknownRegion, NoAcceptingWindow
        """
        window = windows.accepting(windows.region(request.region), at=self.at)
        return pb.WindowResponse(
            window=messages.window(window, caller=self.caller),
            success=True,
            message=f"Window {window.pk} accepts obligations.",
        )

    def get_window_status(self, request: pb.GetWindowStatusRequest) -> pb.WindowStatusResponse:
        """
        Show where a window stands.

        Raises:
            UnknownWindow
        """
        return messages.window_status(windows.get(request.window_id), at=self.at)

    def force_close_window(self, request: pb.ForceCloseWindowRequest) -> pb.WindowCloseResult:
        """
        Close a window now, whatever its cutoff and grace.

        Raises:
            ReasonInvalid, UnknownWindow, IllegalMove
        """
        reason = operations.reason_given(request.reason)
        window = windows.close(windows.get(request.window_id), at=self.at, reason=reason)
        return pb.WindowCloseResult(
            success=True,
            message=f"Window {window.pk} is {window.status}.",
            window_id=window.pk,
            closed_at=messages.moment(window.closed_at),
        )

    def open_new_window(self, request: pb.OpenNewWindowRequest) -> pb.WindowResponse:
        """
        Open a window in a region that has none open.

        Raises:
            UnknownRegion, WindowAlreadyOpen
        """
        region = windows.region(request.region)
        window = windows.open_window(region, at=self.at, emergency_mode=request.emergency_mode)
        return pb.WindowResponse(
            window=messages.window(window, caller=self.caller),
            success=True,
            message=f"Window {window.pk} is open.",
        )

    def process_window(self, request: pb.ProcessWindowRequest) -> pb.ProcessWindowResponse:
        """
        Start clearing a window; if forced to, also release the settlement of one that is cleared and held.

        Raises:
            UnknownWindow, CutoffNotReached, WindowFinal, AlreadyProcessing, RunHeld
        """
        window = windows.get(request.window_id)
        operation = pipeline.clear(window, at=self.at, release=request.force_settlement)
        done = "started as" if operation.held_at is None else "settlement released for"
        return pb.ProcessWindowResponse(
            success=True,
            message=f"Clearing of window {window.pk}: {done} operation {operation.pk}.",
            window_id=window.pk,
            processing_started_at=messages.moment(operation.started_at),
        )

    def start_emergency(self, request: pb.EmergencyRequest, key: str | None) -> AtomicOperation:
        """
        Close the region's window as an emergency and start clearing it; under a key once.

        Raises:
            ReasonInvalid, UnknownRegion, NoAcceptingWindow, MaxObligationsInvalid
            IdempotencyKeyInvalid, IdempotencyKeyConflict
        """
        if key is None:
            return self._start_emergency(request)
        key, made_of = repeats.checked(key), _fingerprint(request)
        with transaction.atomic():
            kept = repeats.kept(self.caller.user_id, key, made_of)
            if kept is not None:
                return steps.get(UUID(kept.body["operation_id"]))
            operation = self._start_emergency(request)
            body = {"operation_id": str(operation.pk)}
            repeats.keep(self.caller.user_id, key, made_of, status_code=202, body=body)
        return operation

    def emergency_result(self, operation: AtomicOperation) -> pb.ClearingResult | None:
        """Return what the run gave, None as long as it goes on."""
        operation = steps.get(operation.pk)
        ended = operation.window.status in FINAL_WINDOW or operation.status in ENDED
        if not ended and not operations.is_held(operation):
            return None
        return messages.clearing_result(operation.window, caller=self.caller)

    def _start_emergency(self, request: pb.EmergencyRequest) -> AtomicOperation:
        return emergency.clear(
            windows.region(request.region),
            at=self.at,
            reason=operations.reason_given(request.reason),
            max_obligations=request.max_obligations or None,
        )

    def get_processing_result(self, request: pb.GetProcessingResultRequest) -> pb.ClearingResult:
        """
        Show what clearing gave so far.

        Raises:
            UnknownWindow
        """
        return messages.clearing_result(windows.get(request.window_id), caller=self.caller)

    def rollback_window(self, request: pb.RollbackRequest) -> pb.RollbackResult:
        """
        Undo the window's clearing run.

        Raises:
            ReasonInvalid, UnknownWindow, NothingToRollBack, AlreadyFinal, RollbackFailed
        """
        reason = operations.reason_given(request.reason)
        window = windows.get(request.window_id)
        undone = operations.roll_back_window(window.pk, at=self.at, reason=reason)
        if not undone:  # an undo that moved nothing is no success
            raise operations.NothingToRollBack(window.pk, window.status)
        return pb.RollbackResult(
            success=True,
            message=f"{len(undone)} operation(s) of window {window.pk} rolled back.",
            window_id=window.pk,
            rolled_back_at=messages.moment(self.at),
            operations_rolled_back=[str(key) for key in undone],
        )

    def get_operation_status(self, request: pb.OperationStatusRequest) -> pb.OperationStatusResponse:
        """
        Show where an operation stands.

        Raises:
            OperationIdInvalid, UnknownOperation
        """
        try:
            key = UUID(request.operation_id)
        except ValueError:
            raise OperationIdInvalid(request.operation_id[:100]) from None
        return messages.operation_status(steps.get(key))


def _fingerprint(request: pb.EmergencyRequest) -> str:
    head = f"gRPC {type(request).__name__}\n".encode()
    return hashlib.sha256(head + request.SerializeToString(deterministic=True)).hexdigest()
