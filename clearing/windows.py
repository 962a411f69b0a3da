"""
Open and close windows.

Closing takes two phases. First Open to Closing, and the region's next window opens in the same
transaction: from here on intake goes there, and at no instant does a scheduled region have no
accepting window. Then, after the grace, Closing to Closed: the gate waits for the intake in flight
and the partition is sealed, so that PostgreSQL itself refuses a late row.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction

from clearing import aside, calendar, operations, partitions, pipeline
from clearing.aside import Span
from clearing.calendar import Schedule
from clearing.events import outbox
from clearing.models import AtomicOperation, ClearingWindow, RegionSchedule, RollOn
from clearing.states import (
    OPERATION_MOVES,
    WINDOW_MOVES,
    Arrival,
    EventType,
    NettingMode,
    OperationStatus,
    OperationType,
    Region,
    WindowStatus,
)
from clearing_project.errors import Conflict, Invalid, NotFound
from clearing_project.lifecycle import IllegalMove, move

logger = logging.getLogger(__name__)


class UnknownWindow(NotFound):
    """No window bears this id."""

    code = "unknown_window"
    fields = ("window_id",)
    message = "No window has the id {window_id}."


class UnknownRegion(Invalid):
    """There is no such region."""

    code = "unknown_region"
    fields = ("region", "known")
    message = "There is no region {region}; there are {known}."


class NoAcceptingWindow(NotFound):
    """The region has no open window."""

    code = "no_accepting_window"
    fields = ("region",)
    message = "Region {region} has no window that accepts obligations."


class WindowAlreadyOpen(Conflict):
    """The region has an accepting window; there is never a second."""

    code = "window_already_open"
    fields = ("region", "window_id")
    message = "Region {region} already accepts obligations in window {window_id}."


class CutoffNotAhead(Invalid):
    """A window cannot have its cutoff before it opens."""

    code = "cutoff_not_ahead"
    fields = ("cutoff_at",)
    message = "The cutoff {cutoff_at} is not after the opening."


def get(window_id: int) -> ClearingWindow:
    """
    Return the window.

    Raises:
        UnknownWindow
    """
    window = ClearingWindow.objects.filter(pk=window_id).first()
    if window is None:
        raise UnknownWindow(window_id)
    return window


def region(name: str) -> Region:
    """
    Return the region of this wire name.

    Raises:
        UnknownRegion
    """
    if name not in Region.values:
        raise UnknownRegion(name, ", ".join(Region.values))
    return Region(name)


def accepting(region: Region) -> ClearingWindow:
    """
    Return the region's open window.

    Raises:
        NoAcceptingWindow
    """
    window = ClearingWindow.objects.filter(region=region, status=WindowStatus.OPEN).first()
    if window is None:
        raise NoAcceptingWindow(region.value)
    return window


def enter(region: Region, *, at: datetime) -> ClearingWindow:
    """
    Return the region's accepting window with its gate passed: it does not close before our transaction ends.

    A scheduled window past its cutoff is turned over here, so that nothing enters it late while Beat is
    away; one opened by hand has none behind it and accepts until it is closed.

    Raises:
        NoAcceptingWindow
    """
    while True:
        window = accepting(region)
        if window.cutoff_at <= at and _schedule(region) is not None:
            try:
                begin_close(window, at=at)
            except IllegalMove as overtaken:
                logger.info("another caller was first: %s", overtaken)
            continue
        partitions.pass_gate(window.pk)
        if ClearingWindow.objects.filter(pk=window.pk, status=WindowStatus.OPEN).exists():
            return window  # else it closed while we stood at the gate: the next one is open


def open_window(
    region: Region,
    *,
    at: datetime,
    opens_at: datetime | None = None,
    cutoff_at: datetime | None = None,
    netting_mode: NettingMode | None = None,
    emergency_mode: bool = False,
    reason: str = "",
) -> ClearingWindow:
    """
    Open a window. Without a cutoff it takes the region's next scheduled opening, else the general duration;
    without a mode the region's, else the general one.

    Raises:
        WindowAlreadyOpen, CutoffNotAhead
    """
    opens_at = opens_at or at
    cutoff_at = cutoff_at or _cutoff(region, opens_at)
    if cutoff_at <= opens_at:
        raise CutoffNotAhead(cutoff_at.isoformat())
    general = settings.CLEARING
    row = RegionSchedule.objects.get(pk=region)
    try:
        with transaction.atomic():
            window = ClearingWindow.objects.create(
                region=region,
                opens_at=opens_at,
                cutoff_at=cutoff_at,
                grace_seconds=general["GRACE_PERIOD_SECONDS"]
                if row.grace_seconds is None
                else row.grace_seconds,
                netting_mode=netting_mode or row.netting_mode or general["NETTING_MODE"],
                transfers=row.transfers,
                max_obligations=general["MAX_OBLIGATIONS_PER_WINDOW"],
                min_netting_efficiency_bps=round(general["MIN_NETTING_EFFICIENCY"] * 10_000),
                auto_settle=general["AUTO_SETTLE"],
                emergency_mode=emergency_mode,
            )
            partitions.create(window.pk)
            aside.enter_due(_span(window))
            move(window, to=WindowStatus.OPEN, moves=WINDOW_MOVES)
            _record(window, OperationType.WINDOW_OPEN, at=at, reason=reason)
            outbox.append(window.pk, EventType.OPENED, at=at, reason=reason)
    except IntegrityError as taken:
        holder = ClearingWindow.objects.filter(region=region, status=WindowStatus.OPEN).first()
        if holder is None:
            raise
        raise WindowAlreadyOpen(region.value, holder.pk) from taken
    return window


@transaction.atomic
def begin_close(window: ClearingWindow, *, at: datetime, reason: str = "") -> ClearingWindow:
    """
    Stop intake: Open to Closing, and the next window of the schedule opens in the same transaction.

    The next one begins where this one ends: at its cutoff when that has passed, else now.

    Raises:
        IllegalMove: it is not open.
    """
    window = ClearingWindow.objects.select_for_update().get(pk=window.pk)
    move(window, to=WindowStatus.CLOSING, moves=WINDOW_MOVES, closing_at=at)
    closing = operations.create(window, OperationType.WINDOW_CLOSE, reason=reason)
    operations.start(closing, at=at)
    outbox.append(window.pk, EventType.CLOSING, at=at, reason=reason)
    region = Region(window.region)
    if _schedule(region) is not None:
        open_window(region, at=at, opens_at=min(at, window.cutoff_at))
    return window


@transaction.atomic
def finish_close(window: ClearingWindow, *, at: datetime) -> ClearingWindow:
    """
    Shut the gate and seal: Closing to Closed. Waits only for the intake in flight.

    The first ``max_obligations`` it took in stay, the rest move on.

    Raises:
        IllegalMove: it is not closing.
    """
    partitions.shut_gate(window.pk)
    window = ClearingWindow.objects.select_for_update().get(pk=window.pk)
    if window.status == WindowStatus.CLOSING:
        _move_surplus_on(window, at=at)
    move(window, to=WindowStatus.CLOSED, moves=WINDOW_MOVES, closed_at=at)
    partitions.seal(window.pk)
    closing = window.operations.get(operation_type=OperationType.WINDOW_CLOSE)
    move(closing, to=OperationStatus.COMMITTED, moves=OPERATION_MOVES, completed_at=at, final_at=at)
    outbox.append(window.pk, EventType.CLOSED, at=at)
    return window


def close(window: ClearingWindow, *, at: datetime, reason: str = "") -> ClearingWindow:
    """
    Close an open or closing window now, without waiting for cutoff or grace.

    Raises:
        IllegalMove: it is closed already.
    """
    window = get(window.pk)
    if window.status == WindowStatus.OPEN:
        window = begin_close(window, at=at, reason=reason)
    return finish_close(window, at=at)


def give_up(window: ClearingWindow, *, at: datetime, reason: str) -> RollOn:
    """
    Give a rolled-back window up: Failed, and its obligations move to the region's accepting window.

    Nothing is lost or doubled: the sum over windows stays the sum of what was accepted.

    Raises:
        IllegalMove: it is not rolled back.
        NoAcceptingWindow: nowhere to move them to; the window stays as it is.
        AlreadyProcessing: a run of it is live.
    """
    with transaction.atomic():
        window = ClearingWindow.objects.select_for_update().get(pk=window.pk)
        live = operations.live_clearing(window.pk)
        if live is not None:
            raise operations.AlreadyProcessing(window.pk, str(live.pk))
        move(window, to=WindowStatus.FAILED, moves=WINDOW_MOVES, processed_at=at)
        target = enter(Region(window.region), at=at)
        count = partitions.empty_into(window.pk, target_id=target.pk)
        rolled = RollOn.objects.create(
            source=window, target=target, reason=reason, obligations_count=count, rolled_at=at
        )
        outbox.append(
            window.pk,
            EventType.FAILED,
            at=at,
            reason=reason,
            rolled_on_to_window_id=target.pk,
            obligations_count=count,
        )
    return rolled


def keep(region: Region, *, at: datetime) -> None:
    """
    Make the region's windows agree with the clock: open, close, start clearing, catching up after an outage.

    Safe to run twice at once: every move is guarded, and who comes second leaves it to the first.
    """
    schedule = _schedule(region)
    try:
        window = ClearingWindow.objects.filter(region=region, status=WindowStatus.OPEN).first()
        if window is None and schedule is not None:
            opens_at, cutoff_at = calendar.slot(schedule, at=at)
            last = ClearingWindow.objects.filter(region=region).order_by("-opens_at").first()
            if last is not None:
                opens_at = max(opens_at, min(at, last.closing_at or at))
            window = open_window(region, at=at, opens_at=opens_at, cutoff_at=cutoff_at)
        while window is not None and window.cutoff_at <= at:
            begin_close(window, at=at)
            window = ClearingWindow.objects.filter(region=region, status=WindowStatus.OPEN).first()
        _finish_due(region, at=at)
    except (IllegalMove, WindowAlreadyOpen) as overtaken:
        logger.info("another tick was first: %s", overtaken)


def _move_surplus_on(window: ClearingWindow, *, at: datetime) -> None:
    """
    Move what the window may not hold to the region's accepting one, or park it until there is one.

    The next window takes it in whatever it holds itself: its own close decides again.
    """
    first_id = partitions.first_surplus(window.pk, kept_max=window.max_obligations)
    if first_id is None:
        return
    region = Region(window.region)
    target: ClearingWindow | None = None
    try:
        target = enter(region, at=at)
    except NoAcceptingWindow:
        count = aside.park_surplus(window.pk, first_id=first_id, region=region, at=at)
    else:
        count = partitions.move_surplus(window.pk, first_id=first_id, target_id=target.pk)
    rolled = RollOn.objects.create(
        source=window,
        target=target,
        kind=Arrival.OVERFLOW,
        reason=f"more than {window.max_obligations} obligations",
        obligations_count=count,
        rolled_at=at,
    )
    outbox.append(
        window.pk,
        EventType.OVERFLOWED,
        at=at,
        reason=rolled.reason,
        rolled_on_to_window_id=rolled.target_id,
        obligations_count=count,
    )


def _finish_due(region: Region, *, at: datetime) -> None:
    """Seal windows whose grace has passed, and start clearing them; a second run is the sweep's to start."""
    live = ClearingWindow.objects.filter(region=region).order_by("id")
    for window in live.filter(status=WindowStatus.CLOSING):
        if _grace_ends_at(window) <= at:
            finish_close(window, at=at)
    for window in live.filter(status=WindowStatus.CLOSED).exclude(operations__in=operations.clearings()):
        if _grace_ends_at(window) <= at:
            try:
                pipeline.clear(window, at=at)
            except Conflict as overtaken:
                logger.info("window %s: %s", window.pk, overtaken)


def _grace_ends_at(window: ClearingWindow) -> datetime:
    """From the cutoff, or from an earlier close by hand: whoever closed it may start it first."""
    assert window.closing_at is not None, "a window past intake has its closing moment"
    return min(window.cutoff_at, window.closing_at) + timedelta(seconds=window.grace_seconds)


def _record(
    window: ClearingWindow, operation_type: OperationType, *, at: datetime, reason: str
) -> AtomicOperation:
    """Write an operation that is done with this very transaction."""
    operation = operations.create(window, operation_type, reason=reason)
    operations.start(operation, at=at)
    move(operation, to=OperationStatus.COMMITTED, moves=OPERATION_MOVES, completed_at=at, final_at=at)
    return operation


def _schedule(region: Region) -> Schedule | None:
    """Return the region's schedule, or None if it opens by hand only."""
    row = RegionSchedule.objects.filter(region=region, is_enabled=True).first()
    return Schedule(row.time_zone, tuple(row.opening_times)) if row else None


def _span(window: ClearingWindow) -> Span:
    """Tell waiting obligations which window this is."""
    region = Region(window.region)
    schedule = _schedule(region)
    following = calendar.next_opening(schedule, after=window.cutoff_at) if schedule else None
    return Span(window.pk, region, window.cutoff_at, following)


def _cutoff(region: Region, opens_at: datetime) -> datetime:
    schedule = _schedule(region)
    if schedule is None:
        return opens_at + timedelta(hours=settings.CLEARING["WINDOW_DURATION_HOURS"])
    return calendar.next_opening(schedule, after=opens_at)
