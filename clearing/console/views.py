"""GET /: what is going on now."""

from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from clearing.console import state


@require_safe
@never_cache
@staff_member_required
def console(request: HttpRequest) -> HttpResponse:
    """Show windows, live operations, last results and totals; the page fetches itself every few seconds."""
    host, _ = split_domain_port(request.get_host())
    context = {
        **state.now(),
        "at": timezone.now(),
        "flower_url": f"{request.scheme}://{host}:{settings.FLOWER_PORT}/",
    }
    return render(request, "clearing/console.html", context)
