"""``/metrics``: counts and ages for Prometheus; no amounts and no names, so it asks for no token."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from clearing.metrics import exposition


@require_safe
def metrics(_: HttpRequest) -> HttpResponse:
    """Answer a scrape."""
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)
