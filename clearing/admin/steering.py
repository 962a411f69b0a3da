"""
Steer windows by hand: a page that asks for the reason, then the same verbs as every other door.

Who asked, for what and why is logged before the verb is called, so that not even a crash loses it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from clearing import corrections, emergency, interventions, operations, pipeline, queries, windows
from clearing.admin import asking
from clearing.admin.asking import ReasonForm
from clearing.models import ClearingWindow
from clearing.states import Region, WindowStatus
from clearing_project import trace
from clearing_project.errors import ClearingError, Unavailable

WINDOWS_MAX = 50  # one request; each may wait for intake in flight
PERMISSION = "clearing.change_clearingwindow"


class EmergencyForm(ReasonForm):
    """Also how many are cleared."""

    field_order = ("max_obligations", "reason")

    max_obligations = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=emergency.OBLIGATIONS_MAX,
        widget=UnfoldAdminIntegerFieldWidget,
        label="At most so many obligations",
        help_text="The first in order of intake; the rest moves on. Empty: all that the window holds.",
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """When, why and by whom it is asked for; *max_obligations* of an emergency alone."""

    at: datetime
    reason: str
    by: str
    max_obligations: int | None = None


@dataclass(frozen=True, slots=True)
class Verb:
    """
    One thing an operator may do to a window.

    Args:
        call: does it; answers what was done, or nothing if there was nothing to do.
        states: of a window for which it is offered; the engine decides, this only tidies the page.
    """

    name: str
    title: str
    consequence: str
    call: Callable[[ClearingWindow, Asked], str]
    states: tuple[WindowStatus, ...]
    is_dangerous: bool = False
    form: type[ReasonForm] = ReasonForm

    @property
    def slug(self) -> str:
        """Its part of an address."""
        return self.name.replace("_", "-")


def _force_close(window: ClearingWindow, asked: Asked) -> str:
    closed = windows.close(window, at=asked.at, reason=asked.reason)
    if closed.closed_at is None:
        return "intake is stopped; it closes when the obligation engine has sent everything."
    return f"closed at {closed.closed_at:%H:%M:%S} UTC."


def _process(window: ClearingWindow, asked: Asked) -> str:
    operation = pipeline.clear(window, at=asked.at, reason=asked.reason)
    return f"clearing by operation {operation.pk}."


def _emergency(window: ClearingWindow, asked: Asked) -> str:
    operation = emergency.clear(
        Region(window.region),
        at=asked.at,
        reason=asked.reason,
        max_obligations=asked.max_obligations,
        window_id=window.pk,
    )
    return f"closed, and clearing as an emergency by operation {operation.pk}."


def _release(window: ClearingWindow, asked: Asked) -> str:
    held = operations.live_clearing(window.pk)
    if held is None or held.held_at is None:
        return ""
    operation = pipeline.clear(window, at=asked.at, reason=asked.reason, release=True)
    return f"operation {operation.pk} is final."


def _give_up(window: ClearingWindow, asked: Asked) -> str:
    moved = windows.give_up(window, at=asked.at, reason=asked.reason)
    return f"{moved.obligations_count:,} obligation(s) moved on to {moved.target}."


def _retry_failed(window: ClearingWindow, asked: Asked) -> str:
    tried = [
        interventions.retry(each.pk, actor=asked.by, reason=asked.reason, at=asked.at)
        for each in queries.failed(window)
    ]
    return f"{len(tried)} instruction(s) are tried again." if tried else ""


def _settle_by_hand(window: ClearingWindow, asked: Asked) -> str:
    settled = [
        interventions.settle_by_hand(each.pk, actor=asked.by, reason=asked.reason, at=asked.at)
        for each in queries.failed(window)
    ]
    return f"{len(settled)} instruction(s) are settled by hand." if settled else ""


def _roll_back(window: ClearingWindow, asked: Asked) -> str:
    undone = operations.roll_back_window(window.pk, at=asked.at, reason=asked.reason)
    return f"{len(undone)} operation(s) rolled back." if undone else ""


def _correct(window: ClearingWindow, asked: Asked) -> str:
    operation = corrections.correct(window, at=asked.at, reason=asked.reason, by=asked.by)
    return f"sent back by operation {operation.pk}."


FORCE_CLOSE = Verb(
    "force_close",
    "Force close",
    "Intake stops now, without waiting for cutoff or grace, and the window is sealed. The region's next"
    " scheduled window opens at once. A closed window does not open again.",
    _force_close,
    (WindowStatus.OPEN, WindowStatus.CLOSING),
)
PROCESS = Verb(
    "process",
    "Process",
    "Clearing starts now: obligations are frozen, netted and settled. What is settled has moved for good.",
    _process,
    (WindowStatus.CLOSED, WindowStatus.ROLLED_BACK),
)
EMERGENCY = Verb(
    "emergency",
    "Clear as an emergency",
    "Intake stops now, the window is sealed and cleared at once. Its instructions are emergency settlements,"
    " and its run is not held for saving little. What is settled has moved for good.",
    _emergency,
    (WindowStatus.OPEN,),
    is_dangerous=True,
    form=EmergencyForm,
)
RELEASE = Verb(
    "release",
    "Release",
    "A run that is committed and held settles now. Money moves for good.",
    _release,
    (WindowStatus.PROCESSING,),
)
ROLL_BACK = Verb(
    "roll_back",
    "Roll back",
    "Every applied checkpoint of the window's live clearing run is undone, in reverse order. The window stays"
    " closed and can be processed again. A run that is final cannot be rolled back: it is corrected.",
    _roll_back,
    (WindowStatus.PROCESSING,),
    is_dangerous=True,
)
GIVE_UP = Verb(
    "give_up",
    "Give up",
    "The window, rolled back or closed, is not cleared again: it is Failed for good, and its obligations move"
    " on to the region's next window.",
    _give_up,
    (WindowStatus.CLOSED, WindowStatus.ROLLED_BACK),
    is_dangerous=True,
)
CORRECT = Verb(
    "correct",
    "Correct",
    "Everything the window settled and that is not corrected yet is sent back by opposite instructions, if"
    " those who received it still have it. The window stays completed. This cannot be taken back.",
    _correct,
    (WindowStatus.COMPLETED,),
    is_dangerous=True,
)
RETRY_FAILED = Verb(
    "retry_failed",
    "Retry failed instructions",
    "Every instruction that the settlement engine failed is sent to it again, as a new attempt, once the"
    " engine has confirmed that the last one failed.",
    _retry_failed,
    (WindowStatus.SETTLING,),
)
SETTLE_BY_HAND = Verb(
    "settle_by_hand",
    "Settle failed by hand",
    "You declare that every instruction that the settlement engine failed was paid another way. It is"
    " posted on the ledger for good; nothing is sent.",
    _settle_by_hand,
    (WindowStatus.SETTLING,),
    is_dangerous=True,
)
VERBS = (
    FORCE_CLOSE,
    EMERGENCY,
    PROCESS,
    RELEASE,
    ROLL_BACK,
    GIVE_UP,
    CORRECT,
    RETRY_FAILED,
    SETTLE_BY_HAND,
)


def respond(
    admin: Any, request: HttpRequest, chosen: Sequence[ClearingWindow], verb: Verb, *, back: str
) -> HttpResponse:
    """Ask for the reason; once it is given, act on each window, report, and return to *back*."""
    if not admin.has_steer_permission(request):
        raise PermissionDenied
    if len(chosen) > WINDOWS_MAX:
        admin.message_user(request, f"At most {WINDOWS_MAX} windows at a time.", messages.ERROR)
        return HttpResponseRedirect(back)
    form = verb.form(asking.answered(request))
    if form.is_valid():
        for window in chosen:
            with trace.work(window_id=window.pk):
                _act(admin, request, window, verb, **form.cleaned_data)
        return HttpResponseRedirect(back)
    return asking.page(
        admin,
        request,
        action=verb.name,
        title=verb.title,
        consequence=verb.consequence,
        chosen=chosen,
        form=form,
        back=back,
        is_dangerous=verb.is_dangerous,
        template="clearing/ask_windows.html",
    )


def _act(
    admin: Any,
    request: HttpRequest,
    window: ClearingWindow,
    verb: Verb,
    *,
    reason: str,
    max_obligations: int | None = None,
) -> None:
    scope = f" At most {max_obligations} obligations." if max_obligations else ""
    admin.log_change(request, window, f"{verb.title}.{scope} Reason: {reason}")
    asked = Asked(timezone.now(), reason, request.user.get_username(), max_obligations)
    try:
        done = _call(verb, window, asked)
    except ClearingError as refused:
        text = f"{verb.title} of {window}: {refused} ({refused.public_code})"
        admin.log_change(request, window, f"{verb.title} refused: {refused} ({refused.public_code})")
        admin.message_user(request, text, messages.ERROR)
        return
    if done:
        admin.message_user(request, f"{verb.title} of {window}: {done}", messages.SUCCESS)
    else:
        admin.message_user(request, f"{verb.title} of {window}: nothing to do.", messages.WARNING)


def _call(verb: Verb, window: ClearingWindow, asked: Asked) -> str:
    """Call the verb; what waited too long for a lock is asked for again later."""
    try:
        return verb.call(window, asked)
    except OperationalError as busy:
        raise Unavailable from busy
