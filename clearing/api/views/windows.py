"""Windows: read, open, close, process, roll back."""

from datetime import datetime, timedelta
from typing import ClassVar

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request
from rest_framework.response import Response

from clearing import emergency, operations, pipeline, queries, windows
from clearing.access import EVERYONE, OPERATORS, STAFF
from clearing.api import bodies, expanded, parameters, shapes, wire
from clearing.api.idempotency import idempotent
from clearing.api.pagination import page
from clearing.api.schema import described, expand, query, ref
from clearing.api.views.base import Door
from clearing.models import AtomicOperation, ClearingWindow
from clearing.states import Region, WindowStatus
from clearing.weights import WeightsNeedConservative
from clearing_project import trace
from clearing_project.errors import Invalid
from clearing_project.lifecycle import IllegalMove

CUTOFF_AHEAD_MAX = timedelta(days=31)
TAG = "windows"
REGION = query("region", "of this region only", enum=Region.values)


class CutoffTooFar(Invalid):
    """A window cannot stay open that long."""

    code = "cutoff_too_far"
    fields = ("cutoff_at", "days_max")
    message = "The cutoff {cutoff_at} is more than {days_max} days ahead."


class Windows(Door):
    """``windows``"""

    access: ClassVar = {"GET": EVERYONE, "POST": OPERATORS}

    @described(
        "windows_list",
        "List windows, the latest first",
        wire.Page[wire.Window],
        parameters=[
            REGION,
            query("status", "in this status only", enum=WindowStatus.values),
            query("opened_from", "opened at this moment or later", kind=OpenApiTypes.DATETIME),
            query("opened_until", "opened before this moment", kind=OpenApiTypes.DATETIME),
        ],
        is_list=True,
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        parameters.only(request, "region", "status", "opened_from", "opened_until", "cursor", "limit")
        rows = ClearingWindow.objects.all()
        if region := parameters.choice(request, "region", Region):
            rows = rows.filter(region=region)
        if status := parameters.choice(request, "status", WindowStatus):
            rows = rows.filter(status=status)
        if since := parameters.moment(request, "opened_from"):
            rows = rows.filter(opens_at__gte=since)
        if until := parameters.moment(request, "opened_until"):
            rows = rows.filter(opens_at__lt=until)
        return Response(page(request, rows, shapes.window, key=["-id"]))

    @described(
        "windows_open",
        "Open a window",
        wire.Window,
        status=201,
        body={bodies.JSON: ref(bodies.OpenWindow)},
        errors=[
            windows.UnknownRegion,
            windows.WindowAlreadyOpen,
            windows.CutoffNotAhead,
            CutoffTooFar,
            WeightsNeedConservative,
            operations.ReasonInvalid,
        ],
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        parameters.only(request)
        body, now = bodies.read(request, bodies.OpenWindow), timezone.now()
        opened = windows.open_window(
            windows.region(body.region),
            at=now,
            cutoff_at=_cutoff(body.cutoff_at, now),
            netting_mode=body.netting_mode,
            weights=body.weights,
            emergency_mode=body.emergency_mode,
            reason=operations.reason_given(body.reason, is_required=False),
        )
        return Response(shapes.window(opened), 201)


class CurrentWindow(Door):
    """``windows/current``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "windows_current",
        "Show the region's accepting window",
        wire.WindowDetail,
        parameters=[query("region", "its region; Global if left out", enum=Region.values)],
        errors=[parameters.ParameterInvalid, windows.NoAcceptingWindow],
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        parameters.only(request, "region")
        region = parameters.choice(request, "region", Region) or Region.GLOBAL
        return Response(shapes.window_detail(windows.accepting(Region(region), at=timezone.now())))


class OneWindow(Door):
    """``windows/{window_id}``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "windows_show",
        "Show a window with its traffic",
        expanded.WindowExpanded,
        parameters=[expand(*expanded.OF_A_WINDOW)],
        errors=[windows.UnknownWindow, parameters.ParameterInvalid],
        tag=TAG,
    )
    def get(self, request: Request, window_id: int) -> Response:
        parameters.only(request, "expand")
        return Response(expanded.window(request, windows.get(window_id)))


class Standing(Door):
    """``windows/{window_id}/status``"""

    access: ClassVar = {"GET": EVERYONE}

    @described(
        "windows_status",
        "Show where a window stands",
        wire.WindowStanding,
        errors=[windows.UnknownWindow],
        tag=TAG,
    )
    def get(self, request: Request, window_id: int) -> Response:
        parameters.only(request)
        return Response(shapes.standing(windows.get(window_id), at=timezone.now()))


class Process(Door):
    """``windows/{window_id}/process``"""

    access: ClassVar = {"POST": OPERATORS}

    @described(
        "windows_process",
        "Start clearing a closed or rolled-back window",
        wire.ProcessingStarted,
        status=202,
        body={bodies.JSON: ref(bodies.Process)},
        errors=[
            windows.UnknownWindow,
            pipeline.CutoffNotReached,
            pipeline.WindowFinal,
            pipeline.RunHeld,
            operations.AlreadyProcessing,
            operations.ReasonInvalid,
        ],
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, window_id: int) -> Response:
        parameters.only(request)
        body = bodies.read(request, bodies.Process, is_optional=True)
        operation = pipeline.clear(
            windows.get(window_id),
            at=timezone.now(),
            reason=operations.reason_given(body.reason, is_required=False),
            release=body.force_settlement,
        )
        return Response(_started(operation), 202)


class ForceClose(Door):
    """``force-close``"""

    access: ClassVar = {"POST": OPERATORS}

    @described(
        "windows_force_close",
        "Close a window now, without waiting for cutoff or grace",
        wire.Window,
        body={bodies.JSON: ref(bodies.ForceClose)},
        errors=[windows.UnknownWindow, IllegalMove, operations.ReasonInvalid],
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        parameters.only(request)
        body = bodies.read(request, bodies.ForceClose)
        reason = operations.reason_given(body.reason)
        trace.bind(window_id=body.window_id)
        closed = windows.close(windows.get(body.window_id), at=timezone.now(), reason=reason)
        return Response(shapes.window(closed))


class Emergency(Door):
    """``emergency``"""

    access: ClassVar = {"POST": OPERATORS}

    @described(
        "windows_emergency",
        "Close the region's accepting window now and clear it as an emergency",
        wire.ProcessingStarted,
        status=202,
        body={bodies.JSON: ref(bodies.EmergencyClearing)},
        errors=[
            windows.UnknownRegion,
            windows.NoAcceptingWindow,
            emergency.MaxObligationsInvalid,
            operations.ReasonInvalid,
        ],
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        parameters.only(request)
        body = bodies.read(request, bodies.EmergencyClearing)
        operation = emergency.clear(
            windows.region(body.region),
            at=timezone.now(),
            reason=operations.reason_given(body.reason),
            max_obligations=body.max_obligations,
        )
        return Response(_started(operation), 202)


class RollBack(Door):
    """``rollback/{window_id}``"""

    access: ClassVar = {"POST": OPERATORS}

    @described(
        "windows_roll_back",
        "Undo the window's clearing run, every checkpoint in reverse",
        wire.RolledBack,
        body={bodies.JSON: ref(bodies.RollBack)},
        errors=[
            windows.UnknownWindow,
            operations.NothingToRollBack,
            operations.AlreadyFinal,
            operations.RollbackFailed,
            operations.ReasonInvalid,
        ],
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, window_id: int) -> Response:
        parameters.only(request)
        body, now = bodies.read(request, bodies.RollBack), timezone.now()
        reason, window = operations.reason_given(body.reason), windows.get(window_id)
        undone = operations.roll_back_window(window.pk, at=now, reason=reason)
        if not undone:  # an undo that moved nothing is no success
            raise operations.NothingToRollBack(window.pk, window.status)
        status = WindowStatus(windows.get(window_id).status)
        return Response(wire.RolledBack(window_id, status, rolled_back_at=now, operations_rolled_back=undone))


class Preview(Door):
    """``windows/{window_id}/preview``"""

    access: ClassVar = {"GET": STAFF}

    @described(
        "windows_preview",
        "Compute what clearing would give now",
        wire.Preview,
        errors=[windows.UnknownWindow],
        tag=TAG,
    )
    def get(self, request: Request, window_id: int) -> Response:
        parameters.only(request)
        return Response(shapes.preview(queries.preview(windows.get(window_id))))


def _started(operation: AtomicOperation) -> wire.ProcessingStarted:
    return wire.ProcessingStarted(
        window_id=operation.window_id,
        status=WindowStatus(windows.get(operation.window_id).status),
        operation_id=operation.pk,
        processing_started_at=operation.started_at,
    )


def _cutoff(cutoff_at: datetime | None, now: datetime) -> datetime | None:
    if cutoff_at is not None and cutoff_at - now > CUTOFF_AHEAD_MAX:
        raise CutoffTooFar(cutoff_at.isoformat(), CUTOFF_AHEAD_MAX.days)
    return cutoff_at
