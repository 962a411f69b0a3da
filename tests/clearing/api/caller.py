"""A client of the REST door, as Django's test client sends it: through every middleware."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client

from clearing import client as rest
from clearing.obligations import Submission
from clearing_project.wsgi import application

PREFIX = "/api/v1/clearing/"
PROBLEM = "application/problem+json"


CLIENT = Client(raise_request_exception=False)  # one for all: its first request reads every static file


class Caller:
    """A bearer of a token, or of none."""

    def __init__(self, token: str = "") -> None:
        self.token = token
        self.client = CLIENT

    def get(self, path: str, **parameters: Any) -> Any:
        """Ask for a path under the prefix, or for an absolute one."""
        return self.client.get(address(path), parameters, headers=self._headers())

    def get_unless(self, path: str, tag: str) -> Any:
        """Ask for a path with If-None-Match."""
        return self.client.get(address(path), headers=self._headers() | {"If-None-Match": tag})

    def put(self, path: str, body: Any, **headers: str) -> Any:
        """Send JSON; headers by name, ``if_match`` for If-Match."""
        sent = self._headers() | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.put(address(path), json.dumps(body), "application/json", headers=sent)

    def post(
        self, path: str, body: Any = None, *, key: str = "", media_type: str = "application/json"
    ) -> Any:
        """Send JSON, or text and bytes as they are."""
        data = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.send("POST", path, "" if body is None else data, key=key, media_type=media_type)

    def send(self, method: str, path: str, data: Any = "", *, key: str = "", media_type: str = "") -> Any:
        """Use any method."""
        headers = self._headers() | ({"Idempotency-Key": key} if key else {})
        return self.client.generic(method, address(path), data, content_type=media_type, headers=headers)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


@contextmanager
def typed(token: str) -> Iterator[rest.Client]:
    """The typed client, through the whole WSGI application, on the test's connection."""
    told = (request_started, request_finished)
    for signal in told:
        signal.disconnect(close_old_connections)
    try:
        door = httpx.WSGITransport(app=application)
        with rest.Client("http://localhost", token, transport=door) as made:
            yield made
    finally:
        for signal in told:
            signal.connect(close_old_connections)


def address(path: str) -> str:
    """Return the whole path."""
    return path if path.startswith("/") else PREFIX + path


def bulk(*items: Submission, **envelope: Any) -> dict[str, Any]:
    """The body of an intake."""
    names = ("reference", "payer", "payee", "currency", "amount")
    sent = [{name: getattr(item, name) for name in names} for item in items]
    return {"region": "Americas", **envelope, "obligations": sent}


def is_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Hold a response to RFC 9457 and to its code; return the problem."""
    body = response.content.decode()
    assert (response.status_code, response.headers["Content-Type"]) == (status, PROBLEM), body
    problem: dict[str, Any] = json.loads(body)
    assert problem["code"] == code, problem
    assert problem["status"] == status
    assert problem["type"] == f"urn:clearing:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert "{" not in problem["detail"]
    return problem
