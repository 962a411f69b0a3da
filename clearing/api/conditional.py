"""
``ETag``, ``If-None-Match`` and ``If-Match``: read again only what changed, change only what was seen.

Tags are strong. One may have parts with a dot between them: the first is that of the limits, wherever they
are shown, so what was read with a participant is good for a change of its limits.
"""

from typing import Any

from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

from clearing.api.errors import IfMatchMissing

ETAG, IF_MATCH, IF_NONE_MATCH = "ETag", "If-Match", "If-None-Match"
ANY = "*"


def answer(request: Request, shown: Any, tag: str) -> Response:
    """Answer *shown* with its tag, or 304 and no body to who has it already."""
    headers = {ETAG: f'"{tag}"', "Cache-Control": "private, no-cache"}
    had = {each.removeprefix("W/") for each in parse_etags(request.headers.get(IF_NONE_MATCH, ""))}
    if request.method in ("GET", "HEAD") and had & {ANY, headers[ETAG]}:
        return Response(status=304, headers=headers)
    return Response(shown, headers=headers)


def seen(request: Request) -> set[str] | None:
    """
    Return the first parts of the tags that the caller has seen; None: it takes what is there (``*``).

    A weak tag, or one without quotes, is none that we gave out, and so matches nothing.

    Raises:
        IfMatchMissing
    """
    header = request.headers.get(IF_MATCH)
    if header is None:
        raise IfMatchMissing
    if header.strip() == ANY:
        return None
    strong = (each.strip('"') for each in parse_etags(header) if each.startswith('"'))
    return {each.partition(".")[0] for each in strong}
