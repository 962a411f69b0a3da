"""
Take what belongs in a closing window from the obligation engine, through the same intake as every door.

A batch and how far it brought the pull are one transaction: whatever dies, the next attempt goes on where the
last commit stands, and what comes twice is known by its reference.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from time import perf_counter

import msgspec
from django.db import transaction

from clearing import partitions, windows
from clearing.engine import client, pulls
from clearing.engine.crosscheck import SUBMITTER
from clearing.engine.pb import obligation_pb2 as pb
from clearing.faults import reach
from clearing.models import ClearingWindow
from clearing.obligations import BATCH_MAX, OutcomeStatus, Submission, submit
from clearing.states import Region, WindowStatus
from clearing_project.errors import ClearingError, Conflict


class PulledDisordered(Conflict):
    """The stream is not in the order of its sequence, so it could not be resumed without a loss."""

    code = "pulled_disordered"
    fields = ("window_id", "reference", "sequence")
    message = "Window {window_id}: {reference} has the sequence {sequence} and follows a higher one."


class PulledShapeless(Conflict):
    """What the engine sent is not an obligation."""

    code = "pulled_shapeless"
    fields = ("window_id", "reference", "reason")
    message = "Window {window_id}: {reference} is not of the shape of an obligation: {reason}"


class PulledElsewhere(Conflict):
    """The engine sends an obligation for this window that it sent for another one before."""

    code = "pulled_elsewhere"
    fields = ("window_id", "reference", "other_window_id")
    message = "Window {window_id}: {reference} came for window {other_window_id} before."


@dataclass(frozen=True, slots=True)
class _Batch:
    submissions: list[Submission]
    cursor: int


def pull(window_id: int, *, at: datetime) -> bool:
    """
    Pull what is missing, if nobody else is at it. Failures are kept with the pull, not raised.

    Returns:
        Whether everything has come.
    """
    if not pulls.claim(window_id, at=at):
        return False
    since = perf_counter()

    def now() -> datetime:
        return at + timedelta(seconds=perf_counter() - since)

    try:
        client.engine().call(partial(_drain, windows.get(window_id), now))
    except ClearingError as trouble:
        pulls.fail(window_id, trouble, at=now())
        return False
    pulls.complete(window_id, at=now())
    return True


def _drain(window: ClearingWindow, now: Callable[[], datetime], _timeout_seconds: float) -> None:
    """Read one stream to its end, from where the last commit stands."""
    found = pulls.of(window.pk)
    assert found is not None, "claimed, so it is there"
    for batch in _batches(window, client.obligations(window, after=found.cursor), found.cursor):
        _take(window, batch, at=now())
        reach("pull.between")


def _batches(window: ClearingWindow, stream: Iterable[pb.Obligation], after: int) -> Iterator[_Batch]:
    submissions: list[Submission] = []
    cursor = after
    for sent in stream:
        if sent.sequence < cursor:
            raise PulledDisordered(window.pk, sent.reference, sent.sequence)
        submissions.append(_submission(window, sent))
        cursor = sent.sequence
        if len(submissions) == BATCH_MAX:
            yield _Batch(submissions, cursor)
            submissions = []
    if submissions:
        yield _Batch(submissions, cursor)


def _take(window: ClearingWindow, batch: _Batch, *, at: datetime) -> None:
    with transaction.atomic():
        partitions.pass_gate(window.pk)
        window = windows.get(window.pk)
        if window.status != WindowStatus.CLOSING:
            raise pulls.PullOver(window.pk)
        intake = submit(
            batch.submissions,
            region=Region(window.region),
            submitter=SUBMITTER,
            at=at,
            all_or_nothing=True,
            into=window,
        )
        for outcome in intake.outcomes:
            if outcome.status == OutcomeStatus.DUPLICATE and outcome.window_id != window.pk:
                raise PulledElsewhere(window.pk, outcome.reference, outcome.window_id)
        pulls.advance(window.pk, cursor=batch.cursor, taken=len(batch.submissions), at=at)


def _submission(window: ClearingWindow, sent: pb.Obligation) -> Submission:
    fields = {
        "reference": sent.reference,
        "payer": sent.payer,
        "payee": sent.payee,
        "currency": sent.currency,
        "amount": sent.amount,
        "due_date": sent.due_date or None,
        "priority": sent.priority,
        "link": sent.link or None,
    }
    try:
        return msgspec.convert(fields, Submission)
    except msgspec.ValidationError as wrong:
        raise PulledShapeless(window.pk, sent.reference, f"{wrong}.") from wrong
