"""The events of a window and the subjects they are published under."""

from datetime import UTC, datetime
from typing import Any

from clearing.models import WindowEvent
from clearing.states import EventType

STREAM = "CLEARING"
SUBJECTS = ["clearing.window.*", "clearing.instruction.*", "clearing.obligation.*"]

SUBJECT: dict[EventType, str] = {
    EventType.OPENED: "clearing.window.opened",
    EventType.CLOSING: "clearing.window.closing",
    EventType.CLOSED: "clearing.window.closed",
    EventType.PROCESSING: "clearing.window.processing",
    EventType.COMPLETED: "clearing.window.completed",
    EventType.FAILED: "clearing.window.failed",
    EventType.ROLLED_BACK: "clearing.window.rolled_back",
    EventType.EFFICIENCY_ALERT: "clearing.window.efficiency_alert",
    EventType.OVERFLOWED: "clearing.window.overflowed",
    EventType.OBLIGATION_CANCELLED: "clearing.obligation.cancelled",
    EventType.OBLIGATION_HELD: "clearing.obligation.held",
    EventType.OBLIGATION_RELEASED: "clearing.obligation.released",
    EventType.ROLLBACK_FAILED: "clearing.window.rollback_failed",
    EventType.CORRECTED: "clearing.window.corrected",
    EventType.INSTRUCTIONS_FAILED: "clearing.instruction.failed",
    EventType.INSTRUCTIONS_CONTRADICTED: "clearing.instruction.contradicted",
}


def rfc3339(moment: datetime) -> str:
    """Write a moment as the wire does: RFC 3339 in UTC, microseconds, ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def of_event(event: WindowEvent) -> dict[str, Any]:
    """Return the ids under which the event is carried further: those that it was written under."""
    ids = {name: event.data[name] for name in ("request_id", "operation_id") if event.data.get(name)}
    return {"window_id": event.window_id, **ids}


def payload(event: WindowEvent) -> dict[str, Any]:
    """Build the event's JSON; *event* comes with its window."""
    return {
        "event_id": str(event.event_id),
        "event_type": event.event_type,
        "window_id": event.window_id,
        "region": event.window.region,
        "occurred_at": rfc3339(event.occurred_at),
        "sequence": event.sequence,
        "data": event.data,
    }
