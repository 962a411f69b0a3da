"""
Read windows, runs and rows for every door, so that all show the same figures.

Nothing is written and no lock is held; amounts are minor units of their currency.
"""

from clearing.aside import UnknownObligation
from clearing.queries.discharge import Discharge, Through, of_obligation
from clearing.queries.lookups import (
    UnknownInstruction,
    instruction,
    obligation,
    with_corrections,
)
from clearing.queries.preview import Preview, PreviewPosition, preview
from clearing.queries.results import (
    CurrencyResult,
    CurrencyTraffic,
    Positions,
    ResultError,
    WindowResult,
    WindowVolumes,
    bounded_counts,
    efficiency_bps,
    failed,
    instructions,
    positions,
    result,
    run_of,
    single_currency_total,
    traffic,
)
from clearing.queries.summary import Summary, summary
from clearing.queries.timetable import Planned, Year, check_year, hours_and_minutes, remarks, upcoming

__all__ = [
    "CurrencyResult",
    "CurrencyTraffic",
    "Discharge",
    "Planned",
    "Positions",
    "Preview",
    "PreviewPosition",
    "ResultError",
    "Summary",
    "Through",
    "UnknownInstruction",
    "UnknownObligation",
    "WindowResult",
    "WindowVolumes",
    "Year",
    "bounded_counts",
    "check_year",
    "efficiency_bps",
    "failed",
    "hours_and_minutes",
    "instruction",
    "instructions",
    "obligation",
    "of_obligation",
    "positions",
    "preview",
    "remarks",
    "result",
    "run_of",
    "single_currency_total",
    "summary",
    "traffic",
    "upcoming",
    "with_corrections",
]
