"""What happens around every request: its id, its line in the log, its address without a slash at the end."""

import logging
from collections.abc import Callable
from time import perf_counter

from django.http import HttpRequest, HttpResponse

from clearing_project import pool, trace

ROOTS = ("/api/", "/health/", "/metrics/")
QUIET = ("/health", "/metrics", "/static/")  # asked for all the time
UNAVAILABLE = 503
ID_KEY = "HTTP_X_REQUEST_ID"

logger = logging.getLogger(__name__)

Answer = Callable[[HttpRequest], HttpResponse]


def with_request_id(get_response: Answer) -> Answer:
    """Give every request an id, the caller's own if it is sound, and say it in the answer and in the log."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request_id = trace.accepted(request.META.get(ID_KEY, ""))
        with trace.work(request_id=request_id):
            since = perf_counter()
            response = get_response(request)
            if response.status_code == UNAVAILABLE:
                pool.renew()
            response.headers[trace.HEADER] = request_id
            level = logging.DEBUG if request.path.startswith(QUIET) else logging.INFO
            told = {
                "method": request.method,
                "path": request.path,
                "status": response.status_code,
                "took_ms": round((perf_counter() - since) * 1000),
            }
            logger.log(level, "request", extra=told)
        return response

    return middleware


def without_trailing_slash(get_response: Answer) -> Answer:
    """Let an address of the API end in a slash or not; a redirect would lose the body of a POST."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(ROOTS) and request.path_info.endswith("/"):
            request.path_info = request.path_info.rstrip("/")
        return get_response(request)

    return middleware
