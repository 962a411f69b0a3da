"""Answers as JSON: structures of ``wire`` and plain values alike."""

from typing import Any

import msgspec
from rest_framework.renderers import BaseRenderer


class JSON(BaseRenderer):
    """Encode with msgspec: moments become RFC 3339, keys and enumerations text."""

    media_type = "application/json"
    format = "json"
    charset = None  # JSON is UTF-8 and says no charset

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        """Return the body; no data, no body."""
        return b"" if data is None else msgspec.json.encode(data)
