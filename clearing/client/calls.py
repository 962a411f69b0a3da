"""The calls of the client."""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID, uuid4

import httpx
import msgspec

from clearing.client import shapes

PREFIX = "/api/v1/clearing/"
TIMEOUT_SECONDS = 30.0

Shape = TypeVar("Shape")


class Client:
    """
    Every call raises ``Problem`` when it is refused, and httpx's errors when nobody answers.

    A POST bears an ``Idempotency-Key``, the caller's or a new one: with the caller's own it may be repeated
    after any failure, and is done once.

    Args:
        url: of the web door, without a path.
        token: of ``manage.py issue_token``.
        transport: another way to the door, for tests.
    """

    def __init__(self, url: str, token: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(
            base_url=url.rstrip("/") + PREFIX,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=TIMEOUT_SECONDS,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def windows(self, **filters: str) -> Iterator[shapes.Window]:
        """Yield windows, the latest first, by ``region``, ``status``, ``opened_from``, ``opened_until``."""
        return self._pages("windows", shapes.Window, filters)

    def window(self, window_id: int) -> shapes.Window:
        """Show a window."""
        return self._get(f"windows/{window_id}", shapes.Window)

    def current_window(self, region: str) -> shapes.Window:
        """Show the region's accepting window."""
        return self._get("windows/current", shapes.Window, region=region)

    def open_window(self, region: str, *, key: str = "", **fields: Any) -> shapes.Window:
        """Open a window; *fields* such as ``cutoff_at``, ``netting_mode``, ``reason``."""
        return self._post("windows", shapes.Window, {"region": region, **fields}, key)

    def force_close(self, window_id: int, *, reason: str, key: str = "") -> shapes.Window:
        """Close a window now."""
        return self._post("force-close", shapes.Window, {"window_id": window_id, "reason": reason}, key)

    def process(self, window_id: int, *, reason: str = "", key: str = "") -> shapes.Started:
        """Start clearing a closed window."""
        return self._post(f"windows/{window_id}/process", shapes.Started, {"reason": reason}, key)

    def roll_back(self, window_id: int, *, reason: str, key: str = "") -> list[UUID]:
        """Undo the window's clearing run; return the operations that were undone."""
        answer = self._post(f"rollback/{window_id}", dict[str, Any], {"reason": reason}, key)
        return [UUID(each) for each in answer["operations_rolled_back"]]

    def result(self, window_id: int) -> shapes.Result:
        """Show what clearing the window gave."""
        return self._get(f"windows/{window_id}/result", shapes.Result)

    def positions(self, window_id: int, **filters: str) -> Iterator[shapes.Position]:
        """Yield the run's net positions per participant; filters are ``currency``, ``participant``."""
        return self._pages(f"windows/{window_id}/positions", shapes.Position, filters)

    def events(self, window_id: int, **filters: str) -> Iterator[shapes.Event]:
        """Yield what happened to the window, in order."""
        return self._pages(f"windows/{window_id}/events", shapes.Event, filters)

    def instructions(self, **filters: Any) -> Iterator[shapes.Instruction]:
        """Yield instructions; filters are ``window``, ``status``, ``currency``, ``participant``."""
        return self._pages("instructions", shapes.Instruction, filters)

    def instruction(self, instruction_id: UUID) -> shapes.InstructionDetail:
        """Show an instruction with its attempts at the settlement engine."""
        return self._get(f"instructions/{instruction_id}", shapes.InstructionDetail, expand="executions")

    def declare(
        self, instruction_id: UUID, outcome: str, *, reason: str, key: str = ""
    ) -> shapes.InstructionDetail:
        """Declare ``Completed`` or ``Failed`` what an engine that is gone for good will never tell."""
        body = {"outcome": outcome, "reason": reason}
        return self._post(f"instructions/{instruction_id}/declare", shapes.InstructionDetail, body, key)

    def participants(self, **filters: str) -> Iterator[shapes.Participant]:
        """Yield participants; the filter is ``status``."""
        return self._pages("participants", shapes.Participant, filters)

    def limits(self, participant: str) -> shapes.Limits:
        """Show the limits of a participant that hold, with the tag that a change of them needs."""
        return _tagged(self._http.get(f"participants/{participant}/limits"))

    def set_limits(
        self, participant: str, limits: Sequence[shapes.Limit], *, seen: str, reason: str = ""
    ) -> shapes.Limits:
        """
        Make these the participant's limits; those left out hold no more.

        Args:
            seen: the tag of the limits to which this is the answer. If they have changed since, the call is
                refused as ``limits_changed``: read them again. ``*`` takes what is there.
        """
        tag = seen if seen == "*" else f'"{seen}"'
        body = {"limits": msgspec.to_builtins(list(limits)), "reason": reason}
        path = f"participants/{participant}/limits"
        return _tagged(self._http.put(path, json=body, headers={"If-Match": tag}))

    def accounts(self, **filters: str) -> Iterator[shapes.Account]:
        """Yield accounts; filters are ``participant``, ``currency``."""
        return self._pages("accounts", shapes.Account, filters)

    def submit(
        self,
        obligations: Sequence[shapes.Obligation],
        *,
        region: str = "Global",
        per_item: bool = False,
        key: str = "",
    ) -> shapes.Intake:
        """Submit up to 10,000 obligations: all or none, or with *per_item* those that are sound."""
        body = {
            "region": region,
            "on_error": "per_item" if per_item else "all_or_nothing",
            "obligations": msgspec.to_builtins(list(obligations)),
        }
        return self._post("obligations", shapes.Intake, body, key)

    def _pages(self, path: str, shape: type[Shape], filters: dict[str, Any]) -> Iterator[Shape]:
        cursor: str | None = ""
        while cursor is not None:
            page = self._get(path, dict[str, Any], **filters, **({"cursor": cursor} if cursor else {}))
            yield from msgspec.convert(page["results"], list[shape])  # type: ignore[valid-type]
            cursor = page["next"]

    def _get(self, path: str, shape: type[Shape], **parameters: Any) -> Shape:
        return _answered(self._http.get(path, params=parameters), shape)

    def _post(self, path: str, shape: type[Shape], body: Any, key: str) -> Shape:
        answer = self._http.post(path, json=body, headers={"Idempotency-Key": key or str(uuid4())})
        return _answered(answer, shape)


def _tagged(answer: httpx.Response) -> shapes.Limits:
    shown = _answered(answer, shapes.Limits)
    shown.tag = answer.headers["ETag"].strip('"')
    return shown


def _answered(answer: httpx.Response, shape: type[Shape]) -> Shape:
    if answer.is_success:
        return msgspec.json.decode(answer.content, type=shape)
    wait = answer.headers.get("Retry-After", "")
    try:
        document = answer.json()
    except ValueError:  # a proxy on the way
        document = {"status": answer.status_code, "detail": answer.text[:200]}
    raise shapes.Problem(document, retry_after_seconds=int(wait) if wait.isdigit() else None)
