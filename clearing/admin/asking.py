"""The page between an act by hand and its doing: what will happen, to which rows, and why it is asked for."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminTextareaWidget


class ReasonForm(forms.Form):
    """Why it is done; blank will not do."""

    reason = forms.CharField(
        max_length=500,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autofocus": True}),
        error_messages={"required": "Say why: the reason is kept with what is done."},
    )


def answered(request: HttpRequest) -> Any:
    """Return what the page was sent back with; None while it was not shown yet."""
    return request.POST if "reason" in request.POST else None


def page(
    admin: Any,
    request: HttpRequest,
    *,
    action: str,
    title: str,
    consequence: str,
    chosen: Sequence[Model],
    form: ReasonForm,
    back: str,
    is_dangerous: bool = False,
    template: str = "clearing/ask.html",
) -> HttpResponse:
    """
    Ask.

    Args:
        action: the admin action that the answer is for.
        chosen: rows of one model, one at least.
        back: where who leaves it goes.
        template: an ``ask.html`` that shows a row its own way.
    """
    names = chosen[0]._meta
    noun = names.verbose_name if len(chosen) == 1 else names.verbose_name_plural
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "title": title,
        "heading": f"{title}: {len(chosen)} {noun}",
        "action": action,
        "consequence": consequence,
        "chosen": chosen,
        "form": form,
        "back": back,
        "is_dangerous": is_dangerous,
    }
    return TemplateResponse(request, template, context)
