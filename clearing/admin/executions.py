"""Declare outcomes that the engine will never tell: a page that asks for the reason, then the verb."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from clearing import interventions
from clearing.admin import asking
from clearing.admin.asking import ReasonForm
from clearing_project.errors import ClearingError, Unavailable
from settlement.admin.rails import ExecutionAdmin
from settlement.models import Execution
from settlement.rails.attempts import OutcomeKnown
from settlement.rails.executions import Outcome

CHOSEN_MAX = 50  # one request; the engine is asked about each
PERMISSION = "settlement.declare_execution"
CONSEQUENCE = {
    Outcome.COMPLETED: "The engine executed it and will never say so. It is posted on the ledger for good;"
    " nothing is sent.",
    Outcome.FAILED: "The engine never executed it and will never say so. It may then be tried again or"
    " settled by hand: if the engine did execute it, that pays twice.",
}

admin.site.unregister(Execution)


@admin.register(Execution)
class DeclaringAdmin(ExecutionAdmin):
    """Attempts outside; who may declare outcomes does it here."""

    actions = ("declare_completed", "declare_failed")

    def has_declare_permission(self, request: HttpRequest) -> bool:
        """A permission of its own: it is an approver's, not an operator's."""
        return request.user.has_perm(PERMISSION)

    @admin.action(description="Declare completed …", permissions=["declare"])
    def declare_completed(self, request: HttpRequest, queryset: QuerySet[Execution]) -> HttpResponse:
        """The engine executed them and will never say so: they are posted for good."""
        return self._respond(request, queryset, Outcome.COMPLETED)

    @admin.action(description="Declare failed …", permissions=["declare"])
    def declare_failed(self, request: HttpRequest, queryset: QuerySet[Execution]) -> HttpResponse:
        """The engine never executed them and will never say so: they may be settled another way."""
        return self._respond(request, queryset, Outcome.FAILED)

    def _respond(self, request: HttpRequest, queryset: QuerySet[Execution], outcome: Outcome) -> HttpResponse:
        """Ask for the reason; once it is given, declare each outcome and report."""
        if not self.has_declare_permission(request):
            raise PermissionDenied
        back = request.get_full_path()
        chosen = list(queryset.select_related("instruction__currency").order_by("pk")[: CHOSEN_MAX + 1])
        if len(chosen) > CHOSEN_MAX:
            self.message_user(request, f"At most {CHOSEN_MAX} executions at a time.", messages.ERROR)
            return HttpResponseRedirect(back)
        form = ReasonForm(asking.answered(request))
        if form.is_valid():
            for row in chosen:
                self._declare(request, row, outcome, reason=form.cleaned_data["reason"])
            return HttpResponseRedirect(back)
        return asking.page(
            self,
            request,
            action=f"declare_{outcome.value}",
            title=f"Declare {outcome.value}",
            consequence=f"{CONSEQUENCE[outcome]} The engine is asked once more first; what it tells counts.",
            chosen=chosen,
            form=form,
            back=back,
            is_dangerous=True,
        )

    def _declare(self, request: HttpRequest, row: Execution, outcome: Outcome, *, reason: str) -> None:
        self.log_change(request, row, f"Declare {outcome.value}. Reason: {reason}")
        try:
            _call(row, outcome, actor=request.user.get_username(), reason=reason)
        except ClearingError as refused:
            text = f"Declare {row} {outcome.value}: {refused} ({refused.public_code})"
            self.log_change(request, row, f"Declare {outcome.value} refused: {refused.public_code}")
            self.message_user(request, text, messages.ERROR)
        else:
            self.message_user(request, f"{row} is declared {outcome.value}.", messages.SUCCESS)


def _call(row: Execution, outcome: Outcome, **why: Any) -> None:
    """Call the verb; what waited too long for a lock is asked for again later."""
    now = timezone.now()
    if Execution.objects.filter(instruction_id=row.instruction_id, attempt__gt=row.attempt).exists():
        raise OutcomeKnown(str(row.instruction_id), row.status)
    try:
        said = interventions.inquire(row.instruction_id, outcome, at=now)
        interventions.declare(row.instruction_id, outcome, said=said, at=now, **why)
    except OperationalError as busy:
        raise Unavailable from busy
