"""
A typed client of the REST door, over httpx. Imports nothing of the engine, and no Django.

    with Client("http://127.0.0.1:8085", token) as client:
        window = client.open_window("Global")
        client.submit([Obligation("INV-1", "RHENDE50XXX", "TYNBGB20", "EUR", "1000.00")], key="batch-1")
        client.process(window.id)
"""

from clearing.client.calls import Client
from clearing.client.shapes import (
    Account,
    Event,
    Execution,
    Instruction,
    InstructionDetail,
    Intake,
    Limit,
    Limits,
    Obligation,
    Outcome,
    Participant,
    Position,
    Problem,
    Result,
    Started,
    Window,
)

__all__ = [
    "Account",
    "Client",
    "Event",
    "Execution",
    "Instruction",
    "InstructionDetail",
    "Intake",
    "Limit",
    "Limits",
    "Obligation",
    "Outcome",
    "Participant",
    "Position",
    "Problem",
    "Result",
    "Started",
    "Window",
]
