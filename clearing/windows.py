"""
Open and close windows.

Closing takes two phases. First Open to Closing, and the region's next window opens in the same
transaction: from here on intake goes there, and at no instant does a scheduled region have no
accepting window, unless its schedule says that intake waits. Then, after the grace, Closing to Closed:
the gate waits for the intake in flight and the partition is sealed, so that PostgreSQL itself refuses a
late row.

Which window opens next is decided under a lock on the region's schedule, taken before any window's.
"""

import logging
from datetime import datetime, timedelta
from typing import NoReturn

from django.conf import settings
from django.db import connection, transaction

from clearing import aside, calendar, counters, operations, partitions, schedules
from clearing import weights as weighing
from clearing.aside import Span, Surplus
from clearing.engine import pulls
from clearing.events import facts, outbox
from clearing.events.catalog import rfc3339
from clearing.models import AtomicOperation, ClearingWindow, RegionSchedule, RollOn
from clearing.states import (
    OPERATION_MOVES,
    WINDOW_MOVES,
    NettingMode,
    OperationStatus,
    OperationType,
    Region,
    Weights,
    WindowStatus,
)
from clearing_project.errors import Conflict, Invalid, NotFound
from clearing_project.lifecycle import IllegalMove, move

logger = logging.getLogger(__name__)

INSTANT = timedelta(microseconds=1)


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
    fields = ("region", "next_opening_at")  # null: none is scheduled
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


def open_one(region: Region) -> ClearingWindow | None:
    """Return the region's open window, or None."""
    return ClearingWindow.objects.filter(region=region, status=WindowStatus.OPEN).first()


def accepting(region: Region, *, at: datetime | None = None) -> ClearingWindow:
    """
    Return the region's open window.

    Raises:
        NoAcceptingWindow: with the next scheduled opening after *at*, if that is given and there is one.
    """
    return open_one(region) or _refuse(region, at=at)


def enter(region: Region, *, at: datetime) -> ClearingWindow:
    """
    Return the region's accepting window with its gate passed: it does not close before our transaction ends.

    A scheduled window past its cutoff is turned over here, and one that is due is opened, so that nothing
    enters late or in vain while Beat is away; one opened by hand has none behind it and accepts until it is
    closed.

    Raises:
        NoAcceptingWindow
    """
    while True:
        window = open_one(region) or open_due(region, at=at)
        if window is None:
            _refuse(region, at=at)
        if window.cutoff_at <= at and schedules.of(region) is not None:
            try:
                begin_close(window, at=at)
            except IllegalMove as overtaken:
                logger.info("another caller was first: %s", overtaken)
            continue
        partitions.pass_gate(window.pk)
        if ClearingWindow.objects.filter(pk=window.pk, status=WindowStatus.OPEN).exists():
            return window  # else it closed while we stood at the gate: the next one is open


def is_past_cutoff(window: ClearingWindow, *, at: datetime) -> bool:
    """Whether nothing of the window may change any more; one opened by hand accepts until it is closed."""
    is_due = window.cutoff_at <= at and schedules.of(Region(window.region)) is not None
    return is_due or window.status != WindowStatus.OPEN


def span(window: ClearingWindow) -> Span:
    """Tell waiting obligations which window this is."""
    schedule = schedules.of(Region(window.region))
    next_cutoff_at = calendar.following(schedule, at=window.cutoff_at).cutoff_at if schedule else None
    return Span(window.pk, Region(window.region), window.cutoff_at, next_cutoff_at)


@transaction.atomic
def open_window(
    region: Region,
    *,
    at: datetime,
    opens_at: datetime | None = None,
    cutoff_at: datetime | None = None,
    netting_mode: NettingMode | None = None,
    weights: Weights | None = None,
    emergency_mode: bool = False,
    reason: str = "",
) -> ClearingWindow:
    """
    Open a window, not before the region's last one ends. Without a cutoff it takes the schedule's next, else
    the general duration; without a mode the region's, else the general one; without weights the
    region's, where it nets conservatively.

    Raises:
        WindowAlreadyOpen, CutoffNotAhead, ScheduleNeverOpens, WeightsNeedConservative
    """
    row = schedules.lock(region)
    holder = open_one(region)
    if holder is not None:
        raise WindowAlreadyOpen(region.value, holder.pk)
    opens_at = opens_at or max(at, _end_of_last(region) or at)
    cutoff_at = cutoff_at or schedules.cutoff(row, opens_at=opens_at)
    if cutoff_at <= opens_at:
        raise CutoffNotAhead(cutoff_at.isoformat())
    general = settings.CLEARING
    mode = netting_mode or row.netting_mode or general["NETTING_MODE"]
    window = ClearingWindow.objects.create(
        region=region,
        opens_at=opens_at,
        cutoff_at=cutoff_at,
        grace_seconds=general["GRACE_PERIOD_SECONDS"] if row.grace_seconds is None else row.grace_seconds,
        netting_mode=mode,
        weights=weighing.of_window(weights, schedule=row, mode=mode),
        transfers=row.transfers,
        max_obligations=general["MAX_OBLIGATIONS_PER_WINDOW"],
        min_netting_efficiency_bps=round(general["MIN_NETTING_EFFICIENCY"] * 10_000),
        auto_settle=general["AUTO_SETTLE"],
        emergency_mode=emergency_mode,
    )
    partitions.create(window.pk)
    counters.start(window.pk)
    aside.enter_due(span(window))
    move(window, to=WindowStatus.OPEN, moves=WINDOW_MOVES)
    schedules.wait_until(row, None)
    _record(window, OperationType.WINDOW_OPEN, at=at, reason=reason)
    outbox.append(window.pk, facts.Opened(reason=reason), at=at)
    return window


@transaction.atomic
def open_due(region: Region, *, at: datetime) -> ClearingWindow | None:
    """
    Return the region's open window; without one open the scheduled window that is due.

    After an outage that is the one intake waited for, however long ago: none is left out. None: intake
    waits, or the region opens by hand only.

    Raises:
        ScheduleNeverOpens
    """
    row = schedules.lock(region)
    window = open_one(region)
    if window is not None:
        return window
    if not row.is_enabled:
        schedules.wait_until(row, None)
        return None
    return _open_next(row, since=min(at, row.waits_until or at), at=at)


@transaction.atomic
def begin_close(window: ClearingWindow, *, at: datetime, reason: str = "") -> ClearingWindow:
    """
    Stop intake: Open to Closing, and the next window of the schedule opens in the same transaction.

    The next one begins where this one ends: at its cutoff when that has passed, else now. Where the schedule
    lets intake wait, the opening it waits for is noted instead.

    Raises:
        IllegalMove: it is not open.
        ScheduleNeverOpens: nothing follows; the window stays open.
    """
    row = schedules.lock(Region(window.region))
    window = ClearingWindow.objects.select_for_update().get(pk=window.pk)
    move(window, to=WindowStatus.CLOSING, moves=WINDOW_MOVES, closing_at=at)
    closing = operations.create(window, OperationType.WINDOW_CLOSE, reason=reason)
    operations.start(closing, at=at)
    told = facts.Closing(reason=reason, emergency_mode=window.emergency_mode)
    outbox.append(window.pk, told, at=at)
    pulls.plan(window, at=at)
    if row.is_enabled:
        _open_next(row, since=min(at, window.cutoff_at), at=at)
    return window


@transaction.atomic
def finish_close(window: ClearingWindow, *, at: datetime) -> ClearingWindow:
    """
    Shut the gate and seal: Closing to Closed. Waits only for the intake in flight.

    The first it took in stay, up to ``max_obligations`` and to 64 bits in each currency; the rest move on.

    Raises:
        IllegalMove: it is not closing.
        PullPending: the obligation engine has not sent everything.
    """
    partitions.shut_gate(window.pk)
    surplus = _surplus(get(window.pk), at=at)
    window = ClearingWindow.objects.select_for_update().get(pk=window.pk)
    if pulls.is_pending(window.pk):
        raise pulls.PullPending(window.pk)
    if surplus is not None and window.status == WindowStatus.CLOSING:
        aside.move_on(surplus, at=at)
    move(window, to=WindowStatus.CLOSED, moves=WINDOW_MOVES, closed_at=at)
    partitions.seal(window.pk)
    counters.end(window.pk)
    aside.report_held(window.pk, region=Region(window.region))
    closing = window.operations.get(operation_type=OperationType.WINDOW_CLOSE)
    move(closing, to=OperationStatus.COMMITTED, moves=OPERATION_MOVES, completed_at=at, final_at=at)
    outbox.append(window.pk, facts.Closed(), at=at)
    return window


def close(window: ClearingWindow, *, at: datetime, reason: str = "") -> ClearingWindow:
    """
    Close an open or closing window now, without waiting for cutoff or grace.

    One that takes obligations from an engine stays Closing until they have come; closed again, it goes on
    without them.

    Raises:
        IllegalMove: it is closed already.
    """
    if connection.in_atomic_block:  # both phases in one: gate before row, as whoever enters takes them
        partitions.shut_gate(window.pk)
    window = get(window.pk)
    if window.status != WindowStatus.OPEN:
        pulls.waive(window.pk, at=at, reason=reason)
    else:
        window = begin_close(window, at=at, reason=reason)
        if pulls.is_pending(window.pk):
            return window
    return finish_close(window, at=at)


def give_up(window: ClearingWindow, *, at: datetime, reason: str) -> RollOn:
    """
    Give up a closed or rolled-back window: Failed, its obligations move to the region's accepting one.

    Nothing is lost or doubled: the sum over windows stays the sum of what was accepted.

    Raises:
        IllegalMove: it is neither closed nor rolled back.
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
            source=window, target=target, rolled_at=at, reason=reason, obligations_count=count
        )
        told = facts.Failed(reason=reason, obligations_count=count, rolled_on_to_window_id=target.pk)
        outbox.append(window.pk, told, at=at)
    return rolled


def _refuse(region: Region, *, at: datetime | None) -> NoReturn:
    opening = schedules.awaited_opening(region, at=at) if at else None
    raise NoAcceptingWindow(region.value, rfc3339(opening) if opening else None)


def _surplus(window: ClearingWindow, *, at: datetime) -> Surplus | None:
    """
    Find what the window may not hold, and the region's accepting window with its gate passed, if any.

    Before the window itself is locked: the next is found under the lock on the schedule, which comes first.
    """
    first_id = partitions.first_surplus(window.pk, kept_max=window.max_obligations)
    if first_id is None:
        return None
    try:
        return Surplus(window, first_id, enter(Region(window.region), at=at))
    except NoAcceptingWindow:
        return Surplus(window, first_id, None)


def _record(
    window: ClearingWindow, operation_type: OperationType, *, at: datetime, reason: str
) -> AtomicOperation:
    """Write an operation that is done with this very transaction."""
    operation = operations.create(window, operation_type, reason=reason)
    operations.start(operation, at=at)
    move(operation, to=OperationStatus.COMMITTED, moves=OPERATION_MOVES, completed_at=at, final_at=at)
    return operation


def _open_next(row: RegionSchedule, *, since: datetime, at: datetime) -> ClearingWindow | None:
    """
    Open the scheduled window around *since*, or the next one if it has begun by *at*; else let intake wait.

    It never begins before the last one ended, whatever the clock says: windows do not overlap.
    """
    region, schedule = Region(row.region), schedules.read(row)
    ended_at = _end_of_last(region)
    since = max(since, ended_at or since)
    slot = calendar.following(schedule, at=since)
    if slot.opens_at > max(since, at):
        schedules.wait_until(row, slot.opens_at)
        return None
    opens_at = max(slot.opens_at, ended_at or slot.opens_at)
    return open_window(region, at=at, opens_at=opens_at, cutoff_at=slot.cutoff_at)


def _end_of_last(region: Region) -> datetime | None:
    """Return where the region's last window ended or will: its cutoff, or the moment it was closed before."""
    last = ClearingWindow.objects.filter(region=region).order_by("-opens_at").first()
    if last is None:
        return None
    return max(last.opens_at + INSTANT, min(last.closing_at or last.cutoff_at, last.cutoff_at))
