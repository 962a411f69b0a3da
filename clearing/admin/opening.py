"""Open a window by hand: a page that asks for the region and the reason, then the same verb as every door."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldBooleanSwitchWidget

from clearing import windows
from clearing.admin.asking import ReasonForm
from clearing.states import Region
from clearing_project.errors import ClearingError

TITLE = "Open a window"


class OpenForm(ReasonForm):
    """Which region, and why; the rest is the region's."""

    region = forms.ChoiceField(choices=Region.choices, widget=UnfoldAdminSelectWidget)
    emergency_mode = forms.BooleanField(required=False, widget=UnfoldBooleanSwitchWidget)
    field_order = ("region", "emergency_mode", "reason")


def respond(admin: Any, request: HttpRequest) -> HttpResponse:
    """Ask; once it is answered, open the window, log who did it and why, and show it."""
    if not admin.has_steer_permission(request):
        raise PermissionDenied
    back = reverse("admin:clearing_clearingwindow_changelist")
    form = OpenForm(request.POST or None)
    if form.is_valid():
        return HttpResponseRedirect(_open(admin, request, form.cleaned_data) or back)
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "title": TITLE,
        "form": form,
        "back": back,
    }
    return TemplateResponse(request, "clearing/open_window.html", context)


def _open(admin: Any, request: HttpRequest, asked: dict[str, Any]) -> str:
    """Open it; return its page, or nothing if it was refused."""
    region, reason = Region(asked["region"]), asked["reason"]
    try:
        window = windows.open_window(
            region, at=timezone.now(), emergency_mode=asked["emergency_mode"], reason=reason
        )
    except ClearingError as refused:
        admin.message_user(request, f"{TITLE}: {refused} ({refused.public_code})", messages.ERROR)
        return ""
    admin.log_change(request, window, f"{TITLE}. Reason: {reason}")
    admin.message_user(request, f"{window} is open until {window.cutoff_at:%Y-%m-%d %H:%M} UTC.")
    return reverse("admin:clearing_clearingwindow_change", args=[window.pk])
