"""Each obligation knows how much of it was set off and by which instruction the rest is paid."""

from collections import defaultdict
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from clearing import queries
from clearing.models import AtomicOperation, Obligation
from clearing.queries import discharge
from settlement.models import SettlementInstruction
from tests.factories import A, B, C, circle, closed, obligation, running, settled

pytestmark = pytest.mark.django_db
MODES = ["gross", "bilateral", "multilateral", "conservative"]


def by_reference(operation: AtomicOperation) -> dict[str, discharge.Discharge]:
    names = dict(Obligation.objects.filter(window_id=operation.window_id).values_list("id", "reference"))
    return {names[row.obligation_id]: row for row in discharge.of_window(operation)}


def test_the_first_due_is_set_off_first_and_the_rest_is_paid_by_the_pair_s_instruction() -> None:
    circle()
    operation = settled(
        closed(
            obligation(A, B, 60, reference="late", due_date=date(2026, 3, 12)),
            obligation(A, B, 50, reference="early", due_date=date(2026, 3, 11)),
            obligation(B, A, 70, reference="back"),
            netting_mode="bilateral",
            min_netting_efficiency_bps=0,
        )
    )

    trail = by_reference(operation)

    (leg,) = SettlementInstruction.objects.filter(batch_id=operation.pk)
    assert (trail["early"].set_off_minor, trail["early"].payments) == (50, [])
    assert trail["late"].set_off_minor == 20
    assert trail["late"].payments == [discharge.Payment(leg.pk, 40)]
    assert (trail["back"].set_off_minor, trail["back"].paid_minor) == (70, 0)
    assert trail["late"].through == "bilateral"


def test_in_multilateral_mode_a_payer_s_net_debit_is_paid_to_the_agent() -> None:
    circle()
    operation = settled(
        closed(
            obligation(A, B, 100, reference="one"),
            obligation(A, C, 50, reference="two"),
            obligation(B, A, 120, reference="three"),
            min_netting_efficiency_bps=0,
        )
    )

    trail = by_reference(operation)

    leg = SettlementInstruction.objects.get(batch_id=operation.pk, payer__code=A)
    assert (trail["one"].set_off_minor, trail["two"].set_off_minor) == (100, 20)
    assert trail["two"].payments == [discharge.Payment(leg.pk, 30)]
    assert trail["two"].through == "net_position"


def test_one_obligation_reads_the_same_alone_and_is_open_before_netting() -> None:
    circle()
    shut = closed(obligation(A, B, 100, reference="one"), obligation(A, B, 30), obligation(B, A, 110))
    one = Obligation.objects.select_related("window").get(window=shut, reference="one")

    assert discharge.of_obligation(one) is None

    operation = running(shut, applied=3)
    planned = discharge.of_obligation(one)
    assert planned is not None
    assert (planned.set_off_minor, planned.paid_minor, planned.payments) == (100, 0, [])
    assert planned in discharge.of_window(operation)


parties = st.sampled_from(["P1", "P2", "P3", "P4"])
lists = st.lists(
    st.tuples(parties, parties, st.integers(1, 10**11), st.integers(1, 3)).filter(
        lambda row: row[0] != row[1]
    ),
    min_size=1,
    max_size=14,
)


class TestParts(TestCase):
    @settings(max_examples=60, deadline=None)
    @given(rows=lists, mode=st.sampled_from(MODES), transfers=st.sampled_from(["agent", "direct"]))
    def test_the_parts_add_up_to_every_obligation_and_to_every_instruction(
        self, rows: list[tuple[str, str, int, int]], mode: str, transfers: str
    ) -> None:
        circle(10**15, codes=["P1", "P2", "P3", "P4"])
        shut = closed(
            *(
                obligation(payer, payee, amount, due_date=date(2026, 3, 10 + day))
                for payer, payee, amount, day in rows
            ),
            netting_mode=mode,
            transfers=transfers,
            min_netting_efficiency_bps=0,
        )
        operation = settled(shut)

        trail = discharge.of_window(operation)

        amounts = dict(Obligation.objects.filter(window=shut).values_list("id", "amount_minor"))
        assert [row.obligation_id for row in trail] == sorted(amounts)
        paid_by: defaultdict[object, int] = defaultdict(int)
        for row in trail:
            assert row.set_off_minor + row.paid_minor == amounts[row.obligation_id]
            assert sum(part.amount_minor for part in row.payments) == row.paid_minor
            assert all(part.amount_minor > 0 for part in row.payments)
            for part in row.payments:
                paid_by[part.instruction_id] += part.amount_minor
        legs = SettlementInstruction.objects.filter(batch_id=operation.pk).exclude(payer__kind="Agent")
        assert paid_by == dict(legs.values_list("id", "amount_minor"))
        net = sum(row.net_minor for row in queries.result(shut).currencies)
        assert sum(paid_by.values()) == net
