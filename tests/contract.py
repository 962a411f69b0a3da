"""Events against docs/events: the schemas that were published, not those the code would build today."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "events"


@cache
def schema(event_type: str) -> dict[str, Any]:
    """Read the published schema of a kind of event."""
    found: dict[str, Any] = json.loads((FOLDER / f"{event_type}.json").read_text("utf-8"))
    return found


@cache
def whole(event_type: str) -> Draft202012Validator:
    """Return the judge of whole events of a kind."""
    return Draft202012Validator(schema(event_type), format_checker=Draft202012Validator.FORMAT_CHECKER)


@cache
def _data(event_type: str) -> Draft202012Validator:
    published = schema(event_type)
    part = {**published["properties"]["data"], "$defs": published["$defs"]}
    return Draft202012Validator(part, format_checker=Draft202012Validator.FORMAT_CHECKER)


def hold(*, instance: Any, **_signal: Any) -> None:
    """Refuse an event whose data is not what is published, in the transaction that writes it."""
    _data(str(instance.event_type)).validate(instance.data)
    published = schema(str(instance.event_type))["$defs"][str(instance.event_type)]["properties"]
    unknown = set(instance.data) - set(published)
    assert not unknown, f"{instance.event_type} says more than its schema: {unknown}"
