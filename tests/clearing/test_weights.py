"""A window may set off its most urgent or its oldest obligations first; the proof and the trail follow."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from clearing import operations, queries, windows
from clearing import weights as weighing
from clearing.checkpoints import netting_calculated
from clearing.models import (
    AtomicOperation,
    ClearingWindow,
    FrozenSet,
    GrossPair,
    NettingResult,
    Obligation,
    RegionSchedule,
    ResidualPair,
)
from clearing.obligations import Submission, submit
from clearing.queries import discharge
from clearing.states import NettingMode, Weights
from netting import modes
from netting.weights import of_age, of_priority
from settlement.models import SettlementInstruction
from tests.database import refused, sql
from tests.factories import (
    AT,
    BY_HAND,
    A,
    B,
    C,
    circle,
    closed,
    obligation,
    running,
    settled,
    snapshot,
    window,
)
from tests.netting.networks import pairs_of

pytestmark = pytest.mark.django_db
RING = [(A, B, 50), (B, A, 20), (B, C, 100), (C, A, 200)]


def ring(weights: Weights = Weights.PRIORITY, **urgent: int) -> ClearingWindow:
    """Close a window of the manual's example, its obligations named by their parties."""
    circle()
    owed = [
        obligation(payer, payee, amount, reference=name, priority=urgent.get(name, 0))
        for (payer, payee, amount), name in zip(RING, ("ab", "ba", "bc", "ca"), strict=True)
    ]
    return conservative(*owed, weights=weights)


def conservative(*owed: Submission, weights: Weights = Weights.PRIORITY) -> ClearingWindow:
    """Close a conservative window that holds *owed*."""
    return closed(*owed, netting_mode="conservative", weights=weights, min_netting_efficiency_bps=0)


def by_age(**days: int) -> ClearingWindow:
    """Close a window of the example whose obligations were submitted so many days before its cutoff."""
    circle()
    opened = window(netting_mode="conservative", weights="age", min_netting_efficiency_bps=0)
    for (payer, payee, amount), name in zip(RING, ("ab", "ba", "bc", "ca"), strict=True):
        at = opened.cutoff_at - timedelta(days=days.get(name, 0))
        one = obligation(payer, payee, amount, reference=name)
        submit([one], region=BY_HAND, submitter="OPERATOR", at=at, all_or_nothing=True)
    return windows.close(opened, at=opened.cutoff_at, reason="test")


def left_of(operation: AtomicOperation) -> dict[tuple[str, str], int]:
    rows = ResidualPair.objects.filter(operation=operation)
    return {
        (payer, payee): left
        for payer, payee, left in rows.values_list("payer__code", "payee__code", "left_minor")
    }


def trails(operation: AtomicOperation) -> dict[str, discharge.Discharge]:
    names = dict(Obligation.objects.filter(window_id=operation.window_id).values_list("id", "reference"))
    return {names[row.obligation_id]: row for row in discharge.of_window(operation)}


def test_the_urgent_pair_is_set_off_before_the_longer_circle() -> None:
    operation = settled(ring(ba=9))

    result = NettingResult.objects.get(operation=operation)
    assert left_of(operation) == {(B, C): 70, (C, A): 170}
    assert (result.net_minor, result.primal_minor, result.dual_minor) == (240, 240, 240)
    assert netting_calculated.verify_stored(result) == []


def test_without_weights_priorities_change_nothing() -> None:
    operation = settled(ring(Weights.NONE, ba=9))

    result = NettingResult.objects.get(operation=operation)
    assert left_of(operation) == {(B, A): 20, (B, C): 50, (C, A): 150}
    assert result.net_minor == 220
    assert set(GrossPair.objects.values_list("weight", flat=True)) == {1}


def test_the_oldest_are_set_off_first_by_whole_days_before_the_cutoff() -> None:
    operation = settled(by_age(ba=9, ab=-1))

    weights = GrossPair.objects.values_list("payer__code", "payee__code", "weight")
    assert set(weights) == {(A, B, 1), (B, A, 10), (B, C, 1), (C, A, 1)}
    assert left_of(operation) == {(B, C): 70, (C, A): 170}


def test_within_a_pair_the_heavier_is_discharged_first_and_equals_by_due_date() -> None:
    circle()
    operation = settled(
        conservative(
            obligation(A, B, 10, reference="light"),
            obligation(A, B, 20, reference="heavy-late", priority=5, due_date=AT.date() + timedelta(days=2)),
            obligation(A, B, 30, reference="heavy-early", priority=5, due_date=AT.date() + timedelta(days=1)),
            obligation(A, B, 40, reference="heaviest", priority=9),
            obligation(B, A, 75, reference="back"),
        )
    )

    trail = trails(operation)

    (leg,) = SettlementInstruction.objects.filter(batch_id=operation.pk)
    assert {name: row.set_off_minor for name, row in trail.items()} == {
        "heaviest": 40,
        "heavy-early": 30,
        "heavy-late": 5,
        "light": 0,
        "back": 75,
    }
    assert trail["heavy-late"].payments == [discharge.Payment(leg.pk, 15)]
    assert trail["light"].payments == [discharge.Payment(leg.pk, 10)]
    light = Obligation.objects.select_related("window").get(reference="light")
    assert discharge.of_obligation(light) == trail["light"]


def test_a_run_with_weights_rolls_back_to_nothing() -> None:
    shut = ring(ba=9)
    before = snapshot()
    operation = running(shut, applied=4)
    assert GrossPair.objects.filter(operation=operation, weight=10).exists()

    operations.roll_back(operation.pk, at=AT, reason="test")

    assert snapshot() == before


def test_the_frozen_set_covers_the_weights() -> None:
    shut = by_age(ba=9)
    first = running(shut, applied=2)
    hashes = [FrozenSet.objects.get(operation=first).content_hash]
    operations.roll_back(first.pk, at=AT, reason="test")
    ClearingWindow.objects.filter(pk=shut.pk).update(cutoff_at=shut.cutoff_at + timedelta(days=1))

    again = running(ClearingWindow.objects.get(pk=shut.pk), applied=2)

    hashes.append(FrozenSet.objects.get(operation=again).content_hash)
    assert hashes[0] != hashes[1]


def test_an_obligation_too_old_for_a_weight_stops_the_run() -> None:
    shut = by_age(ba=700_000)
    ClearingWindow.objects.filter(pk=shut.pk).update(cutoff_at=shut.cutoff_at + timedelta(days=299_999))
    oldest = running(ClearingWindow.objects.get(pk=shut.pk), applied=2)
    assert GrossPair.objects.filter(weight=1_000_000).count() == 1
    operations.roll_back(oldest.pk, at=AT, reason="test")
    ClearingWindow.objects.filter(pk=shut.pk).update(cutoff_at=shut.cutoff_at + timedelta(days=300_000))

    with pytest.raises(weighing.ObligationTooOld):
        running(ClearingWindow.objects.get(pk=shut.pk), applied=2)


def test_a_weighted_sum_beyond_64_bits_stops_the_run_and_the_preview() -> None:
    circle(0)
    opened = window(netting_mode="conservative", weights="age", min_netting_efficiency_bps=0)
    huge = [obligation(A, B, 9 * 10**11) for _ in range(12)]  # times a million days: above 2**63
    at = opened.cutoff_at - timedelta(days=700_000)
    submit(huge, region=BY_HAND, submitter="OPERATOR", at=at, all_or_nothing=True)
    shut = windows.close(opened, at=opened.cutoff_at, reason="test")
    ClearingWindow.objects.filter(pk=shut.pk).update(cutoff_at=shut.cutoff_at + timedelta(days=299_999))
    shut = ClearingWindow.objects.get(pk=shut.pk)

    with pytest.raises(weighing.WeightedSumOverflow):
        queries.preview(shut)
    with pytest.raises(weighing.WeightedSumOverflow):
        running(shut, applied=3)


def test_the_preview_says_what_clearing_gives() -> None:
    shut = ring(ba=9)

    foreseen = queries.preview(shut)

    (currency,) = foreseen.currencies
    operation = settled(shut)
    result = NettingResult.objects.get(operation=operation)
    assert (currency.net_minor, currency.gross_minor) == (result.net_minor, result.gross_minor) == (240, 370)
    assert foreseen.instructions_count == 2


@pytest.mark.parametrize("left_minor", [90, 130])
def test_a_residual_that_is_not_what_was_certified_is_refused(left_minor: int) -> None:
    operation = running(ring(ba=9), applied=3)
    ResidualPair.objects.filter(operation=operation, payer__code=B).update(left_minor=left_minor)

    assert netting_calculated.verify_stored(NettingResult.objects.get(operation=operation)) != []


def test_a_residual_above_what_was_owed_is_not_mistaken_for_all_of_it() -> None:
    circle()
    operation = running(conservative(obligation(A, B, 50, priority=3)), applied=3)
    result = NettingResult.objects.get(operation=operation)
    assert netting_calculated.verify_stored(result) == []

    ResidualPair.objects.filter(operation=operation).update(left_minor=60)

    assert netting_calculated.verify_stored(result) == ["more is left of a pair than was owed"]


def test_a_changed_weight_is_refused() -> None:
    operation = running(ring(ba=9), applied=3)
    GrossPair.objects.filter(operation=operation, weight=10).update(weight=9)

    faults = netting_calculated.verify_stored(NettingResult.objects.get(operation=operation))

    assert faults == ["the input is not the one that was certified"]


def test_a_region_s_weights_are_those_of_its_conservative_windows() -> None:
    region = RegionSchedule.objects.filter(pk=BY_HAND)
    region.update(netting_mode="conservative", weights="age")

    assert opened().weights == Weights.AGE
    assert opened(netting_mode=NettingMode.MULTILATERAL).weights == Weights.NONE
    assert opened(weights=Weights.NONE).weights == Weights.NONE
    assert opened(weights=Weights.PRIORITY).weights == Weights.PRIORITY


def opened(**how: Any) -> ClearingWindow:
    """Open a window in place of the one before."""
    at = AT + timedelta(days=ClearingWindow.objects.count())
    for before in ClearingWindow.objects.filter(status="Open"):
        windows.close(before, at=at, reason="test")
    return windows.open_window(BY_HAND, at=at, cutoff_at=at + timedelta(hours=1), **how)


def test_weights_in_another_mode_are_refused_at_the_door_and_by_the_database() -> None:
    with pytest.raises(weighing.WeightsNeedConservative):
        opened(weights=Weights.AGE)
    with refused("window_weights_conservative"):
        window(weights="priority")
    with refused("schedule_weights_conservative"):
        RegionSchedule.objects.filter(pk=BY_HAND).update(weights="age")
    with refused("gross_pair_weight"):
        operation = running(ring(), applied=2)
        GrossPair.objects.filter(operation=operation).update(weight=0)


def test_a_schedule_with_weights_nets_conservatively() -> None:
    schedule = RegionSchedule.objects.get(pk=BY_HAND)
    schedule.weights = "age"

    with pytest.raises(ValidationError) as found:
        schedule.full_clean()

    assert set(found.value.message_dict) >= {"weights"}
    schedule.netting_mode = "conservative"
    schedule.full_clean()
    schedule.weights = ""
    schedule.full_clean()
    assert schedule.weights == Weights.NONE


@pytest.mark.parametrize("seconds", [-90_000, 0, 1, 86_399, 86_400, 86_401, 31_536_000])
def test_sql_and_the_command_line_weigh_alike(seconds: int) -> None:
    cutoff = datetime(2026, 3, 29, 12, tzinfo=UTC)
    moment = cutoff - timedelta(seconds=seconds, microseconds=1)
    shut = ClearingWindow(cutoff_at=cutoff, weights="age")

    ((weight,),) = sql(
        f"SELECT {weighing.expression(shut)} FROM (SELECT %s::timestamptz AS submitted_at) row", moment
    )

    assert weight == of_age(moment.isoformat(), cutoff=cutoff)


def test_sql_and_the_command_line_weigh_priorities_alike() -> None:
    shut = ClearingWindow(cutoff_at=AT, weights="priority")
    for priority in (0, 1, 99):
        ((weight,),) = sql(
            f"SELECT {weighing.expression(shut)} FROM (SELECT %s::int AS priority) row", priority
        )

        assert weight == of_priority(str(priority))


parties = st.sampled_from(["P1", "P2", "P3", "P4"])
owed = st.tuples(parties, parties, st.integers(1, 10**11), st.integers(1, 3), st.integers(0, 4))
lists = st.lists(owed.filter(lambda row: row[0] != row[1]), min_size=1, max_size=14)


class TestWeighed(TestCase):
    @settings(max_examples=25, deadline=None)
    @given(rows=lists)
    def test_what_is_stored_is_the_optimum_and_the_trail_follows_its_arcs(
        self, rows: list[tuple[str, str, int, int, int]]
    ) -> None:
        circle(10**15, codes=["P1", "P2", "P3", "P4"])
        shut = conservative(
            *(
                obligation(payer, payee, amount, due_date=AT.date() + timedelta(days=day), priority=priority)
                for payer, payee, amount, day, priority in rows
            )
        )
        pairs = pairs_of(
            [(int(row[0][1]), int(row[1][1]), row[2]) for row in rows], [row[4] + 1 for row in rows]
        )
        outcome = modes.net(pairs, mode="conservative")

        operation = settled(shut)

        result = NettingResult.objects.get(operation=operation)
        assert (result.primal_minor, result.net_minor) == (outcome.certificate.primal, outcome.measures.net)
        wanted: Counter[tuple[int, int, int]] = Counter()
        assert pairs.weights is not None
        columns = (pairs.payers, pairs.payees, pairs.weights, pairs.gross_minor - outcome.left)
        for payer, payee, weight, set_off in zip(*(column.tolist() for column in columns), strict=True):
            wanted[payer, payee, weight] += set_off
        found: Counter[tuple[int, int, int]] = Counter()
        paid: defaultdict[object, int] = defaultdict(int)
        facts = Obligation.objects.filter(window=shut).in_bulk()
        names = dict(Obligation.objects.filter(window=shut).values_list("id", "payer__code"))
        others = dict(Obligation.objects.filter(window=shut).values_list("id", "payee__code"))
        for trail in discharge.of_window(operation):
            one = facts[trail.obligation_id]
            assert trail.set_off_minor + trail.paid_minor == one.amount_minor
            assert sum(part.amount_minor for part in trail.payments) == trail.paid_minor
            found[int(names[one.pk][1]), int(others[one.pk][1]), one.priority + 1] += trail.set_off_minor
            for part in trail.payments:
                paid[part.instruction_id] += part.amount_minor
        assert found == wanted
        legs = SettlementInstruction.objects.filter(batch_id=operation.pk)
        assert paid == dict(legs.values_list("id", "amount_minor"))
