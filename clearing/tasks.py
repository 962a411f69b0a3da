"""What Beat may start: three knocks, each idempotent and safe beside its own double."""

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from clearing import almanac, clockwork, operations, recovery, windows
from clearing import pull as puller
from clearing.engine import pulls
from clearing.models import IdempotencyRecord
from clearing.states import Region
from clearing_project import counts, trace

logger = logging.getLogger(__name__)


@shared_task
def tick() -> None:
    """Make every region's windows agree with the clock; trouble in one keeps no other from it."""
    counts.beat(timezone.now().timestamp())
    trouble: list[Exception] = []
    for region in Region:
        try:
            with trace.step("keep", region=region.value):
                clockwork.keep(region, at=timezone.now())
        except Exception as failure:
            logger.exception("region %s", region)
            trouble.append(failure)
    for window_id in pulls.due(at=timezone.now()):
        try:
            pull.delay(window_id)
        except Exception as away:  # the broker: the next tick knocks again
            logger.warning("window %s: its pull is not sent: %s", window_id, away)
            trouble.append(away)
    if trouble:
        raise trouble[0]


@shared_task
def pull(window_id: int) -> None:
    """Pull a closing window's obligations from the obligation engine, then close what is due."""
    trace.bind(window_id=window_id)
    if puller.pull(window_id, at=timezone.now()):
        clockwork.keep(windows.region(windows.get(window_id).region), at=timezone.now())


@shared_task
def sweep() -> None:
    """Finish what a lost message left behind."""
    recovery.sweep(at=timezone.now())


@shared_task
def clean_up() -> None:
    """Delete what ended without effect or nobody will ask for again; store the calendars' next years."""
    now, keep = timezone.now(), timedelta(days=settings.CLEARING["RETENTION_DAYS"])
    operations.clean_up(at=now, keep=keep)
    IdempotencyRecord.objects.filter(created_at__lt=now - keep).delete()
    for region in Region:
        almanac.extend(region, at=now)
