"""What a window holds, gave and would give, read back from real runs."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from clearing import operations, queries
from clearing.checkpoints.obligations_collected import SumOverflow
from clearing.queries import CurrencyResult, CurrencyTraffic, WindowVolumes
from clearing.states import ResultStatus, WindowStatus
from tests import factories
from tests.factories import AT, A, B, C

pytestmark = pytest.mark.django_db

TRIANGLE = """
    BANK-A owes BANK-B 500 USD
    BANK-B owes BANK-A 200 USD
    BANK-B owes BANK-C 300 USD
    BANK-A owes BANK-C 7 JPY
"""
GAVE = [
    CurrencyResult("JPY", 1, 7, 7, 7, 0, 0, 2),
    CurrencyResult("USD", 3, 1000, 300, 300, 700, 7000, 3),
]


def test_traffic_is_the_same_before_and_after_the_freeze() -> None:
    factories.circle()
    window = factories.closed(*factories.story(TRIANGLE))
    expected = [CurrencyTraffic("JPY", 1, 7), CurrencyTraffic("USD", 3, 1000)]

    assert queries.traffic(window) == expected

    factories.running(window, applied=2)

    assert queries.traffic(window) == expected


def test_an_empty_window_has_no_traffic_and_no_volume() -> None:
    window = factories.window()

    assert queries.traffic(window) == []
    assert queries.single_currency_total(window) == WindowVolumes("", "", "", "")
    assert queries.result(window).status is None
    assert queries.preview(window).currencies == []


def test_the_result_of_a_completed_window() -> None:
    factories.circle()
    window = factories.closed(*factories.story(TRIANGLE))
    run = factories.settled(window)
    window.refresh_from_db()

    found = queries.result(window)

    assert found.operation == run
    assert found.status is ResultStatus.SUCCESS
    assert found.currencies == GAVE
    assert (found.obligations_count, found.efficiency_bps) == (4, 7000 * 3 // 4)
    assert found.instructions_count == queries.instructions(window).count() == 4
    assert found.errors == []
    assert found.processing_ms is not None


def test_the_preview_is_what_clearing_then_gives() -> None:
    factories.circle()
    window = factories.closed(*factories.story(TRIANGLE))

    foreseen = queries.preview(window)
    factories.settled(window)
    found = queries.positions(window).multilateral

    assert foreseen.currencies == queries.result(window).currencies == GAVE
    assert foreseen.instructions_count == queries.instructions(window).count()
    assert [(row.currency, row.participant, row.net_minor) for row in foreseen.positions] == list(
        found.values_list("currency__code", "participant__code", "net_minor")
    )


def test_the_preview_writes_nothing() -> None:
    factories.circle()
    window = factories.window()
    factories.take(*factories.story(TRIANGLE))

    with CaptureQueriesContext(
        connection,
    ) as asked:
        queries.preview(window)

    assert {query["sql"].split()[0] for query in asked.captured_queries} == {"SELECT"}


def test_a_rolled_back_window_shows_what_failed_and_keeps_its_traffic() -> None:
    factories.circle()
    window = factories.closed(*factories.story(TRIANGLE))
    run = factories.running(window, applied=4)

    operations.roll_back(run.pk, at=AT, reason="the operator said so")
    window.refresh_from_db()
    found = queries.result(window)

    assert window.status == WindowStatus.ROLLED_BACK
    assert found.status is ResultStatus.FAILED
    assert [(error.code, error.message) for error in found.errors] == [
        ("rolled_back_by_request", "the operator said so")
    ]
    assert (found.obligations_count, found.currencies, found.instructions_count) == (4, [], 0)
    assert list(queries.positions(window).bilateral) == []


def test_the_live_run_is_shown_before_an_earlier_one() -> None:
    factories.circle()
    window = factories.closed(*factories.story(TRIANGLE))
    first = factories.running(window, applied=1)
    operations.roll_back(first.pk, at=AT, reason="again")

    second = factories.running(window, applied=3)

    assert queries.run_of(window) == second
    assert queries.positions(window).bilateral.count() == 3


def test_volumes_are_told_of_a_single_currency_only() -> None:
    factories.circle()
    single = factories.closed(
        factories.obligation(A, B, 500), factories.obligation(B, C, 200), factories.obligation(C, A, 200)
    )
    mixed = factories.closed(*factories.story(TRIANGLE))

    assert queries.single_currency_total(single) == WindowVolumes("USD", "9.00", "", "")
    factories.settled(single)

    assert queries.single_currency_total(single) == WindowVolumes("USD", "9.00", "3.00", "6.00")
    assert queries.single_currency_total(mixed) == WindowVolumes("", "", "", "")


def test_a_preview_beyond_64_bits_is_refused_as_clearing_is() -> None:
    factories.circle()
    window = factories.window()
    huge = 2**63 - 1
    factories.take(factories.obligation(A, B, huge), factories.obligation(B, C, huge))

    with pytest.raises(SumOverflow):
        queries.preview(window)
