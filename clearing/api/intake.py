"""Obligations as they arrive by HTTP: JSON or CSV, taken together, each answered by its place."""

import io

from rest_framework.request import Request

from clearing import obligations, windows
from clearing.api import bodies, parameters
from clearing.api.bodies import CSV, JSON
from clearing.obligations import calls
from clearing.obligations.calls import Call, Draft, OnError
from clearing.obligations.rows import CsvNotUtf8
from clearing.obligations.screen import Fault
from clearing.states import Region

ON_ERROR: tuple[OnError, ...] = ("all_or_nothing", "per_item")


def read(request: Request) -> Call:
    """
    Read the call from its body.

    Raises:
        MediaTypeUnsupported, BodyMalformed, BodyInvalid, UnknownRegion
        ParameterInvalid, CsvHeaderInvalid, CsvNotUtf8: of a CSV.
    """
    if bodies.require(request, JSON, CSV) == CSV:
        return _of_csv(request)
    parameters.only(request)
    return calls.read(request.body)


def _of_csv(request: Request) -> Call:
    """A file is for one region: the parameter's, else its first line's own, else Global."""
    parameters.only(request, "region", "on_error")
    on_error = parameters.one_of(request, "on_error", ON_ERROR, default="all_or_nothing")
    try:
        text = request.body.decode("utf-8-sig")
    except UnicodeDecodeError as garbage:
        raise CsvNotUtf8 from garbage
    rows = list(obligations.rows.read(io.StringIO(text, newline="")).rows)
    own = next((row.region for row in rows if row.region), None)
    region = windows.region(parameters.text(request, "region") or own or Region.GLOBAL.value)
    drafts = []
    for row in rows:
        fault = row.fault
        if row.region is not None and row.region != region:
            fault = Fault(
                "region_differs", f"A file is for one region, here {region.value}.", region=row.region[:32]
            )
        reference = row.submission.reference if row.submission else ""
        drafts.append(Draft(reference, None if fault else row.submission, fault))
    return Call(drafts, region, on_error == "all_or_nothing")
