"""What happens before an address is looked up."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

ROOTS = ("/api/", "/health/")


def without_trailing_slash(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Let an address of the API end in a slash or not; a redirect would lose the body of a POST."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(ROOTS) and request.path_info.endswith("/"):
            request.path_info = request.path_info.rstrip("/")
        return get_response(request)

    return middleware
