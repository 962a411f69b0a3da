"""
Where the pull of a window's obligations stands; PostgreSQL lets no window close while its pull is pending.

A pull is planned in the transaction that begins the close, so a window either has one or never will.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, QuerySet
from django.db.models.functions import Greatest

from clearing.engine import client
from clearing.models import ClearingWindow, ObligationPull
from clearing.states import PullStatus
from clearing_project.errors import ClearingError, Conflict
from clearing_project.storable import storable

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=client.STREAM_SECONDS + 20)  # beyond the longest silence of one stream
BACK_OFF_SECONDS_MAX = 60.0
DOUBLINGS_MAX = 6
PROCEED = "proceed"


class PullPending(Conflict):
    """The window closes only when everything that belongs in it has come from the obligation engine."""

    code = "pull_pending"
    fields = ("window_id",)
    message = "Window {window_id} waits for the obligation engine; close it again to go on without."


class PullOver(Conflict):
    """The pull was ended while this caller was at it."""

    code = "pull_over"
    fields = ("window_id",)
    message = "The pull for window {window_id} is over; nothing more is taken from it."


def plan(window: ClearingWindow, *, at: datetime) -> None:
    """Plan the pull of a closing window, if there is an engine to ask."""
    if client.is_configured():
        ObligationPull.objects.create(window=window, next_at=at)


def of(window_id: int) -> ObligationPull | None:
    """Return the window's pull, if it has one."""
    return ObligationPull.objects.filter(pk=window_id).first()


def is_pending(window_id: int) -> bool:
    """Whether the window waits for the engine."""
    return _pending(window_id).exists()


def due(*, at: datetime) -> list[int]:
    """List the windows whose pull nobody is at."""
    rows = ObligationPull.objects.filter(status=PullStatus.PENDING, next_at__lte=at).order_by("next_at")
    return list(rows.values_list("pk", flat=True))


def claim(window_id: int, *, at: datetime) -> bool:
    """Take the lease of a due pull; of several callers one gets it."""
    return bool(_pending(window_id).filter(next_at__lte=at).update(next_at=at + LEASE))


def advance(window_id: int, *, cursor: int, taken: int, at: datetime) -> None:
    """
    Write how far the pull is, in the transaction that took the obligations, and renew its lease.

    Raises:
        PullOver: it was waived meanwhile; nothing of the batch may stay.
    """
    moved = _pending(window_id).update(
        cursor=Greatest(F("cursor"), cursor),
        taken=F("taken") + taken,
        attempts=0,
        next_at=at + LEASE,
    )
    if not moved:
        raise PullOver(window_id)


def complete(window_id: int, *, at: datetime) -> None:
    """Everything has come: the window may close."""
    _pending(window_id).update(status=PullStatus.COMPLETE, completed_at=at, error_code="", error_message="")


def fail(window_id: int, trouble: ClearingError, *, at: datetime) -> None:
    """
    Note a failed attempt, and when to try again; after so many go on without the engine, or hold the close.
    """
    pull = of(window_id)
    if pull is None or pull.status != PullStatus.PENDING:
        return
    attempts = pull.attempts + 1
    delay = min(2.0 ** min(attempts, DOUBLINGS_MAX), BACK_OFF_SECONDS_MAX)
    _pending(window_id).update(
        attempts=attempts,
        next_at=at + timedelta(seconds=delay),
        error_code=trouble.public_code,
        error_message=storable(str(trouble), length_max=2000),
    )
    if attempts < settings.CLEARING["PULL_ATTEMPTS_MAX"]:
        logger.warning("pull for window %s: %s", window_id, trouble)
        return
    if settings.CLEARING["PULL_POLICY"] == PROCEED:
        waive(window_id, at=at, reason=f"{attempts} attempts failed: {trouble}")
    else:
        logger.critical("window %s is held: %s attempts to pull failed: %s", window_id, attempts, trouble)


def waive(window_id: int, *, at: datetime, reason: str) -> bool:
    """Go on without what has not come; False if nothing was waited for."""
    waived = _pending(window_id).update(
        status=PullStatus.WAIVED, completed_at=at, waived_reason=reason[:2000]
    )
    if waived:
        logger.critical("window %s goes on without the obligation engine: %s", window_id, reason)
    return bool(waived)


def _pending(window_id: int) -> QuerySet[ObligationPull]:
    return ObligationPull.objects.filter(pk=window_id, status=PullStatus.PENDING)
