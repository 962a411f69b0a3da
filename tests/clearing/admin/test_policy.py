"""Pages come with a Content-Security-Policy, and hold what it allows."""

import re

import pytest
from django.test import Client

from clearing_project.security import POLICIES

pytestmark = pytest.mark.django_db

INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style\b|\sstyle=|\son\w+=|javascript:", re.IGNORECASE)
FOREIGN = re.compile(r"""<(?:script|link|img|iframe|object)\b[^>]*\b(?:src|href|data)=["'](?:https?:)?//""")


@pytest.mark.parametrize("path", ["/", "/admin/", "/admin/login/", "/api/docs", "/api/redoc", "/health/live"])
def test_every_page_has_its_policy(path: str, admin_client: Client) -> None:
    header = admin_client.get(path).headers["Content-Security-Policy"]

    strict = not path.startswith(tuple(place for place, _ in POLICIES))
    assert ("unsafe" in header) != strict
    assert "default-src 'self'" in header
    assert "frame-ancestors 'none'" in header


def test_the_console_holds_nothing_inline_and_nothing_foreign(admin_client: Client) -> None:
    page = admin_client.get("/").content.decode()

    assert "console.js" in page
    assert INLINE.findall(page) == []
    assert FOREIGN.findall(page) == []


@pytest.mark.parametrize("path", ["/admin/", "/admin/clearing/clearingwindow/", "/api/docs"])
def test_no_page_loads_anything_from_another_host(path: str, admin_client: Client) -> None:
    page = admin_client.get(path).content.decode()

    assert FOREIGN.findall(page) == []
