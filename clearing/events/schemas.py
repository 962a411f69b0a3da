"""JSON Schema 2020-12 of every event, built of the shapes that write them."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from clearing.events.facts import FACTS, Fact, Id
from clearing.states import EventType, Region

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REF = "#/$defs/{name}"
MOMENT = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"


class Event(Struct, kw_only=True):
    """What every event has; ``catalog.payload`` builds it."""

    event_id: UUID
    event_type: str
    window_id: Id
    region: Annotated[str, Meta(extra_json_schema={"enum": Region.values})]
    occurred_at: Annotated[str, Meta(pattern=MOMENT, extra_json_schema={"format": "date-time"})]
    sequence: Id
    data: Fact


def of(kind: EventType) -> dict[str, Any]:
    """
    Build the schema of one kind of event, as NATS and webhooks carry it.

    Fields may be added to events, so members that it does not name are allowed.
    """
    fact = FACTS[kind]
    (_, data), parts = msgspec.json.schema_components([Event, fact], ref_template=REF)
    event = parts.pop("Event")
    parts.pop("Fact")
    event["properties"] |= {"event_type": {"const": kind.value}, "data": data}
    return {
        "$schema": DIALECT,
        "$id": f"urn:clearing:event:{kind.value}",
        **event,
        "title": kind.value,
        "description": parts[fact.__name__].pop("description"),
        "$defs": parts,
    }


def files() -> dict[str, bytes]:
    """Return every schema as the file it is kept in, by the file's name."""
    return {
        f"{kind.value}.json": msgspec.json.format(msgspec.json.encode(of(kind)), indent=2) + b"\n"
        for kind in EventType
    }
