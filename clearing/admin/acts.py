"""Cancel, hold and release obligations by hand: a page that asks for the reason, then the engine's verbs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from clearing.admin import asking
from clearing.admin.asking import ReasonForm
from clearing.models import Obligation, SetAside
from clearing.obligations import acts
from clearing_project.errors import ClearingError, Unavailable

CHOSEN_MAX = 500  # one request; each in a transaction of its own
PERMISSION = "clearing.change_obligation"

Row = Obligation | SetAside


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing an operator may do to an obligation."""

    name: str
    title: str
    consequence: str
    call: Callable[..., Row]
    is_dangerous: bool = False


CANCEL = Verb(
    "cancel",
    "Cancel",
    "The obligation leaves its window and never clears. Its reference stays taken. Nothing brings it back.",
    acts.cancel,
    is_dangerous=True,
)
HOLD = Verb(
    "hold",
    "Hold",
    "The obligation leaves its window and takes part in no netting until it is released.",
    acts.hold,
)
RELEASE = Verb(
    "release",
    "Release",
    "The obligation enters its region's accepting window, or waits for the next one if none is open.",
    acts.release,
)


class ActingAdmin:
    """What the pages of obligations share: the acts, for whoever may *change* obligations."""

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whoever may *change* obligations may act on them; their rows stay the engine's."""
        return request.user.has_perm(PERMISSION)

    @admin.action(description="Cancel …", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        """Cancel the chosen obligations."""
        return _respond(self, request, queryset, CANCEL)

    @admin.action(description="Hold …", permissions=["act"])
    def hold(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        """Hold the chosen obligations."""
        return _respond(self, request, queryset, HOLD)

    @admin.action(description="Release …", permissions=["act"])
    def release(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        """Release the chosen obligations."""
        return _respond(self, request, queryset, RELEASE)


def _respond(pages: Any, request: HttpRequest, queryset: QuerySet[Any], verb: Verb) -> HttpResponse:
    """Ask for the reason; once it is given, act on each obligation and report."""
    if not pages.has_act_permission(request):
        raise PermissionDenied
    back = request.get_full_path()
    chosen = list(queryset.order_by("pk")[: CHOSEN_MAX + 1])
    if len(chosen) > CHOSEN_MAX:
        pages.message_user(request, f"At most {CHOSEN_MAX} obligations at a time.", messages.ERROR)
        return HttpResponseRedirect(back)
    form = ReasonForm(asking.answered(request))
    if form.is_valid():
        _act(pages, request, chosen, verb, reason=form.cleaned_data["reason"])
        return HttpResponseRedirect(back)
    return asking.page(
        pages,
        request,
        action=verb.name,
        title=verb.title,
        consequence=verb.consequence,
        chosen=chosen,
        form=form,
        back=back,
        is_dangerous=verb.is_dangerous,
        template="clearing/ask_obligations.html",
    )


def _act(pages: Any, request: HttpRequest, chosen: Sequence[Row], verb: Verb, *, reason: str) -> None:
    by, done = acts.Actor(request.user.get_username()), 0
    for row in chosen:
        pages.log_change(request, row, f"{verb.title} {row.reference}. Reason: {reason}")
        try:
            _call(verb, row, by=by, reason=reason)
            done += 1
        except ClearingError as refused:
            text = f"{verb.title} of {row.reference}: {refused} ({refused.public_code})"
            pages.message_user(request, text, messages.ERROR)
    if done:
        pages.message_user(request, f"{verb.title}: done for {done} obligation(s).", messages.SUCCESS)


def _call(verb: Verb, row: Row, *, by: acts.Actor, reason: str) -> None:
    """Call the verb; what waited too long for a lock is asked for again later."""
    try:
        verb.call(row.key, by=by, reason=reason, at=timezone.now())
    except OperationalError as busy:
        raise Unavailable from busy
