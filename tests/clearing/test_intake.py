"""Obligations come in once, whole or not at all, and a fault has a code."""

from datetime import date
from functools import partial
from typing import Any

import pytest

from clearing.models import Obligation, ObligationKey
from clearing.obligations import (
    Intake,
    ObligationsConflict,
    ObligationsRejected,
    OutcomeStatus,
    Submission,
)
from clearing.obligations.items import BATCH_MAX, NoItems, TooManyItems
from clearing.states import Region
from clearing.windows import NoAcceptingWindow
from clearing_project.errors import ClearingError
from netting.money import AMOUNT_MAX
from settlement import participants
from tests.database import sql, together
from tests.factories import AT, A, B, C, circle, closed, obligation, take, window

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True, serialized_rollback=True)

FAULTS: dict[str, dict[str, Any]] = {
    "unknown_participant": {"payer": "NOBODY"},
    "participant_suspended": {"payee": C},
    "same_payer_and_payee": {"payee": A},
    "unknown_currency": {"currency": "XXX", "amount": "1.00"},
    "currency_not_enabled": {"currency": "XAF", "amount": "1"},
    "amount_invalid": {"amount": "1,000.00"},
    "too_many_decimals": {"amount": "1.001"},
    "amount_not_positive": {"amount": "0.00"},
    "amount_out_of_range": {"currency": "JPY", "amount": "9223372036854775808"},
    "reference_invalid": {"reference": "two\nlines"},
    "priority_out_of_range": {"priority": 100},
    "link_invalid": {"link": "x" * 141},
    "date_invalid": {"not_before": "soon"},
    "date_out_of_range": {"due_date": date(2199, 1, 1)},
}
MORE_FAULTS = [
    ("amount_invalid", {"amount": ""}),
    ("amount_invalid", {"amount": "1e3"}),
    ("amount_invalid", {"amount": "\u0661"}),
    ("amount_not_positive", {"amount": "-5.00"}),
    ("too_many_decimals", {"currency": "JPY", "amount": "1.0"}),
    ("too_many_decimals", {"currency": "BHD", "amount": "1.0001"}),
    ("reference_invalid", {"reference": "x" * 65}),
    ("priority_out_of_range", {"priority": -1}),
    ("unknown_participant", {"payee": "AGENT"}),
    ("unknown_participant", {"payer": "FUNDING"}),
    ("unknown_participant", {"payer": A.lower()}),
    ("link_invalid", {"link": "tab\there"}),
    ("amount_out_of_range", {"amount": "92233720368547758.08"}),
    ("date_invalid", {"not_before": "2026-03-01T10:00:00"}),
    ("date_out_of_range", {"not_before": "9999-12-31"}),
]
EVERY_FAULT = [*FAULTS.items(), *MORE_FAULTS]


def members() -> None:
    circle()
    participants.suspend(participants.get(C))


def stored() -> list[tuple[str, int]]:
    return list(Obligation.objects.order_by("reference").values_list("reference", "amount_minor"))


def statuses(intake: Intake) -> list[str]:
    return [outcome.status.value for outcome in intake.outcomes]


@pytest.mark.parametrize(("code", "fields"), EVERY_FAULT)
def test_a_fault_rejects_the_whole_call_with_its_code_and_nothing_is_written(
    code: str, fields: dict[str, Any]
) -> None:
    members()
    window()

    with pytest.raises(ObligationsRejected) as refusal:
        take(obligation(), obligation(**fields), obligation())

    assert refusal.value.public_code == code
    ((index, found),) = [(item["index"], item["code"]) for item in refusal.value.details["items"]]
    assert (index, found) == (1, code)
    assert stored() == []
    assert not ObligationKey.objects.exists()


@pytest.mark.parametrize(("code", "fields"), EVERY_FAULT)
def test_item_by_item_a_fault_stops_only_its_own(code: str, fields: dict[str, Any]) -> None:
    members()
    window()

    intake = take(
        obligation(reference="first"),
        obligation(**fields),
        obligation(reference="last"),
        all_or_nothing=False,
    )

    assert statuses(intake) == ["accepted", "rejected", "accepted"]
    assert intake.outcomes[1].code == code
    assert [reference for reference, _ in stored()] == ["first", "last"]


def test_what_was_sent_is_what_is_stored() -> None:
    circle()
    opened = window()

    intake = take(
        obligation(
            reference="a\\b \u00e9",
            currency="BHD",
            amount="1.5",
            due_date=date(2026, 4, 1),
            priority=7,
            link="order \\N",
        ),
        submitter=A,
    )

    row = Obligation.objects.get()
    assert (row.reference, row.currency.code, row.amount_minor) == ("a\\b \u00e9", "BHD", 1500)
    assert (row.payer.code, row.payee.code, row.submitter) == (A, B, A)
    assert (row.due_date, row.priority, row.link) == (date(2026, 4, 1), 7, "order \\N")
    assert (row.window_id, row.submitted_at) == (opened.pk, AT)
    assert row.key == intake.outcomes[0].id
    assert (ObligationKey.objects.get().window_id, ObligationKey.objects.get().obligation_id) == (
        opened.pk,
        row.pk,
    )


@pytest.mark.parametrize(("amount", "minor"), [("92233720368547758.07", AMOUNT_MAX), ("0.01", 1)])
def test_amounts_from_one_minor_unit_to_the_largest_64_bit_number_are_taken(amount: str, minor: int) -> None:
    circle()
    window()

    take(obligation(amount=amount))

    assert [row.amount_minor for row in Obligation.objects.all()] == [minor]


def test_the_same_again_is_a_duplicate_with_the_first_ones_id() -> None:
    circle()
    opened = window()
    sent = obligation()
    first = take(sent)

    again = take(sent, obligation())

    assert statuses(again) == ["duplicate", "accepted"]
    assert again.outcomes[0].id == first.outcomes[0].id
    assert again.outcomes[0].window_id == opened.pk
    assert Obligation.objects.count() == ObligationKey.objects.count() == 2


def test_the_same_twice_in_one_call_is_taken_once() -> None:
    circle()
    window()
    sent = obligation()

    intake = take(sent, obligation(), sent)

    assert statuses(intake) == ["accepted", "accepted", "duplicate"]
    assert intake.outcomes[2].id == intake.outcomes[0].id
    assert Obligation.objects.count() == 2


def test_a_retry_that_crosses_the_cutoff_is_still_a_duplicate() -> None:
    circle()
    sent = obligation()
    before = closed(sent)
    after = window()

    again = take(sent)

    assert statuses(again) == ["duplicate"]
    assert (again.window_id, again.outcomes[0].window_id) == (after.pk, before.pk)
    assert [row.window_id for row in Obligation.objects.all()] == [before.pk]


def test_submitters_do_not_share_references() -> None:
    circle()
    window()

    first = take(obligation(reference="1"), submitter=A)
    second = take(obligation(reference="1", amount_minor=5), submitter=B)

    assert statuses(second) == ["accepted"]
    assert first.outcomes[0].id != second.outcomes[0].id


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("payer", {"payer": C}),
    ("payee", {"payee": C}),
    ("currency", {"currency": "EUR"}),
    ("amount", {"amount_minor": 11_00}),
    ("priority", {"priority": 2}),
    ("due_date", {"due_date": date(2026, 5, 1)}),
    ("link", {"link": "another"}),
    ("not_before", {"not_before": "2026-03-10T08:00:00Z"}),
]


@pytest.mark.parametrize(("name", "change"), CHANGES)
@pytest.mark.parametrize("crosses_cutoff", [False, True])
def test_a_reference_with_another_body_is_a_conflict_that_names_the_difference(
    name: str, change: dict[str, Any], crosses_cutoff: bool
) -> None:
    circle()
    if crosses_cutoff:
        closed(obligation(reference="r"))
    window()
    if not crosses_cutoff:
        take(obligation(reference="r"))

    with pytest.raises(ObligationsConflict) as refusal:
        take(obligation(reference="r", **change), obligation(reference="new"))

    (item,) = refusal.value.details["items"]
    assert (item["code"], item["differing"]) == ("reference_conflict", [name])
    assert stored() == [("r", 10_00)]
    assert ObligationKey.objects.count() == 1


def test_two_bodies_of_one_reference_in_one_call_are_a_conflict() -> None:
    circle()
    window()
    pair = obligation(reference="r"), obligation(reference="r", amount_minor=1)

    with pytest.raises(ObligationsConflict):
        take(*pair)
    intake = take(*pair, all_or_nothing=False)

    assert statuses(intake) == ["accepted", "rejected"]
    assert stored() == [("r", 10_00)]


def test_a_conflicting_item_sent_twice_in_one_call_is_twice_a_conflict() -> None:
    """The repeat was once answered as a duplicate, as if its own amount had been taken."""
    circle()
    window()
    take(obligation(reference="r"))
    other = obligation(reference="r", amount_minor=1)

    intake = take(other, other, all_or_nothing=False)

    assert statuses(intake) == ["rejected", "rejected"]
    assert stored() == [("r", 10_00)]


def test_known_and_new_in_one_call_are_each_answered() -> None:
    circle()
    window()
    known = obligation()
    take(known)

    intake = take(known, obligation(reference="r"), obligation(payer="NOBODY"), known, all_or_nothing=False)

    assert statuses(intake) == ["duplicate", "accepted", "rejected", "duplicate"]
    assert intake.as_json() | {"items": []} == {
        "window_id": intake.window_id,
        "accepted": 1,
        "parked": 0,
        "duplicate": 2,
        "rejected": 1,
        "items": [],
    }


def test_one_call_takes_ten_thousand_items_and_not_one_more() -> None:
    circle()
    window()
    items = [obligation(A, B, 1 + number) for number in range(BATCH_MAX + 1)]

    with pytest.raises(TooManyItems):
        take(*items)
    assert stored() == []

    assert take(*items[:BATCH_MAX]).count(OutcomeStatus.ACCEPTED) == BATCH_MAX == 10_000
    assert sql("SELECT count(*), count(DISTINCT id), sum(amount_minor) FROM clearing_obligation") == [
        (10_000, 10_000, 50_005_000)
    ]


def test_a_call_without_items_is_refused() -> None:
    window()

    with pytest.raises(NoItems):
        take()


def test_the_intake_of_a_region_without_window_is_refused() -> None:
    circle()

    with pytest.raises(NoAcceptingWindow):
        take(obligation())


def test_obligations_go_to_the_window_of_their_own_region() -> None:
    circle()
    here, there = window(), window(Region.ASIA_PACIFIC)

    take(obligation(reference="there"), region=Region.ASIA_PACIFIC)
    take(obligation(reference="here"))

    assert dict(Obligation.objects.values_list("reference", "window_id")) == {
        "here": here.pk,
        "there": there.pk,
    }


def test_a_participant_reinstated_is_taken_again() -> None:
    members()
    window()
    participants.reinstate(participants.get(C))

    assert statuses(take(obligation(A, C))) == ["accepted"]


def test_a_disabled_currency_is_refused() -> None:
    circle()
    window()
    sql("UPDATE settlement_currency SET is_enabled = false WHERE code = 'EUR'")

    with pytest.raises(ObligationsRejected) as refusal:
        take(obligation(currency="EUR"))

    assert refusal.value.public_code == "currency_not_enabled"


@concurrent
def test_twenty_identical_submissions_at_once_are_one_obligation() -> None:
    circle()
    window()
    sent = [obligation(), obligation()]

    outcomes = together(*[partial(take, *(sent if turn % 2 else sent[::-1])) for turn in range(20)])

    intakes = [outcome for outcome in outcomes if isinstance(outcome, Intake)]
    assert len(intakes) == 20, outcomes
    assert sorted(status for intake in intakes for status in statuses(intake)) == (
        ["accepted"] * 2 + ["duplicate"] * 38
    )
    assert len({outcome.id for intake in intakes for outcome in intake.outcomes}) == 2
    assert Obligation.objects.count() == ObligationKey.objects.count() == 2


@concurrent
def test_two_bodies_of_one_reference_at_once_leave_one_obligation_and_one_conflict() -> None:
    circle()
    window()
    bodies = [obligation(reference="r", amount_minor=1 + turn) for turn in range(6)]

    outcomes = together(*[partial(take, body) for body in bodies])

    (winner,) = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Intake)]
    assert all(isinstance(outcomes[place], ObligationsConflict) for place in range(6) if place != winner)
    assert stored() == [("r", 1 + winner)]


@concurrent
def test_the_same_obligation_sent_into_two_regions_at_once_is_taken_once() -> None:
    circle()
    window()
    window(Region.ASIA_PACIFIC)
    sent = obligation()

    outcomes = together(
        *[partial(take, sent, region=region) for region in (Region.AMERICAS, Region.ASIA_PACIFIC) * 4]
    )

    intakes = [outcome for outcome in outcomes if isinstance(outcome, Intake)]
    assert len(intakes) == 8, outcomes
    assert len({intake.outcomes[0].window_id for intake in intakes}) == 1
    assert Obligation.objects.count() == 1


def test_an_error_survives_being_rebuilt_from_its_values() -> None:
    members()
    window()

    with pytest.raises(ObligationsRejected) as refusal:
        take(obligation(payer="NOBODY"))

    rebuilt: ClearingError = type(refusal.value)(*refusal.value.args)
    assert rebuilt.details == refusal.value.details
    assert str(rebuilt) == str(refusal.value)


def test_a_submission_with_an_unknown_field_has_no_shape() -> None:
    with pytest.raises(TypeError):
        Submission(reference="r", payer=A, payee=B, currency="USD", amount="1", colour="red")  # type: ignore[call-arg]
