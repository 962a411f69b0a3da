"""What the REST door answers of obligations and of their intake; the rest is in ``wire``."""

from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

from clearing.api.wire import Amount, Code, CurrencyCode
from clearing.queries import Through
from clearing.states import Act, Arrival, ObligationState, WindowStatus


class Obligation(Struct):
    """
    What a payer owes a payee, gross.

    *state* is ``InWindow``, or why it is in no window; then *window_id* is null.
    """

    id: UUID
    state: ObligationState
    window_id: int | None
    window_status: WindowStatus | None
    reference: str
    payer: Code
    payee: Code
    currency: CurrencyCode
    amount: Amount
    priority: int
    due_date: date | None
    link: str | None
    submitter: str
    submitted_at: datetime


class Payment(Struct):
    """The part of an obligation that an instruction pays; *corrected_by* sent that money back."""

    instruction_id: UUID
    amount: Amount
    corrected_by: UUID | None


class Discharge(Struct):
    """
    How an obligation is discharged: *set_off* and *paid* add up to its amount.

    *through* says what sets off: the payer's net position, the pair's other side, or a circulation; it
    is null in gross mode. *payments* are empty until the instructions are issued, and to a payee in
    multilateral mode, whose payer pays the agent.
    """

    operation_id: UUID
    set_off: Amount
    through: Through | None
    paid: Amount
    payments: list[Payment]


class Aside(Struct):
    """Why an obligation is in no window, since when, and when its window should open, if that is known."""

    reason: str
    by: str
    at: datetime
    expected_at: datetime | None


class ObligationAct(Struct):
    """What somebody did to the obligation."""

    act: Act
    by: str
    reason: str
    window_id: int | None
    at: datetime


class ObligationDetail(Obligation):
    """
    An obligation with its discharge, null until its window is netted.

    *arrival* says how it came where it is, if it was not sent to that very window, *origin_window_id* which
    window it was sent to; *aside* is null while it is in a window.
    """

    origin_window_id: int | None
    arrival: Arrival | None
    not_before: datetime | None
    aside: Aside | None
    acts: list[ObligationAct]
    discharge: Discharge | None


class IntakeItem(Struct, omit_defaults=True):
    """
    What became of one item: with its id, or with the code of what is wrong and that error's fields.

    *state* is there when the obligation is in no window: *window_id* is null then, *reason* says why it waits
    and *expected_at* until when, as far as the calendar tells. *arrival* and *origin_window_id* are there if
    it came too late for the window that it was meant for.
    """

    index: int
    reference: str
    status: str
    id: UUID | None = None
    window_id: int | None = None
    state: ObligationState | None = None
    reason: str = ""
    expected_at: datetime | None = None
    arrival: Arrival | None = None
    origin_window_id: int | None = None
    code: str = ""
    message: str = ""


class IntakeAnswer(Struct):
    """What became of a call; *items* are in its order. *window_id* is null while the region waits for one."""

    window_id: int | None
    accepted: int
    parked: int
    duplicate: int
    rejected: int
    items: list[IntakeItem]
