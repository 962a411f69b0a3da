"""Prometheus reads what the tables say, under names that dashboards rely on."""

from datetime import timedelta

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from clearing import operations
from clearing.checkpoints import STEPS
from clearing.metrics import TableCollector
from settlement.models import SettlementInstruction
from tests.factories import AT, A, B, circle, closed, obligation, running, settled

pytestmark = pytest.mark.django_db


def scrape() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = Client().get("/metrics").content.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_promised_name_is_there_with_the_figures_of_the_tables() -> None:
    circle(1000)
    settled(closed(obligation(A, B, 300), obligation(B, A, 100), min_netting_efficiency_bps=0))
    failed = running(closed(obligation(A, B, 5)), applied=2)
    operations.roll_back(failed.pk, at=AT, reason="test")

    seen = scrape()

    region, operation = (("region", "Americas"),), "deltran_atomic_operations_total"
    assert seen["deltran_clearing_windows_total", (*region, ("status", "Completed"))] == 1
    assert seen["deltran_clearing_windows_total", (*region, ("status", "RolledBack"))] == 1
    assert seen["deltran_clearing_window_duration_seconds_count", region] == 1
    assert seen["deltran_clearing_window_duration_seconds_bucket", (("le", "+Inf"), *region)] == 1
    assert seen["deltran_netting_efficiency_percent", (("currency", "USD"), *region)] == 50
    kinds = (("instruction_type", "NetSettlement"), ("status", "Completed"))
    assert seen["deltran_settlement_instructions_total", kinds] == 2
    assert seen["deltran_clearing_errors_total", (("code", "rolled_back_by_request"),)] == 1
    for status in ("Committed", "RolledBack"):
        labels = (("operation_type", "WindowClearing"), ("status", status))
        assert seen[operation, labels] == 1


def test_a_failed_rollback_is_a_figure_above_zero_until_it_is_repaired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    circle(1000)
    run = running(closed(obligation(A, B, 5)), applied=2)
    assert scrape()["deltran_clearing_rollbacks_failed", ()] == 0

    monkeypatch.setattr(STEPS[1], "undo", lambda *_, **__: None)
    with pytest.raises(operations.RollbackFailed):
        operations.roll_back(run.pk, at=AT, reason="test")
    assert scrape()["deltran_clearing_rollbacks_failed", ()] == 1

    monkeypatch.undo()
    operations.roll_back(run.pk, at=AT)
    assert scrape()["deltran_clearing_rollbacks_failed", ()] == 0


def test_ages_grow_with_what_is_not_final() -> None:
    circle(1000)
    shut = closed(obligation(A, B, 5))
    running(shut, applied=1)

    later = shut.cutoff_at + timedelta(hours=1)
    ages = {
        (sample.name, sample.labels.get("status")): sample.value
        for family in TableCollector(at=later).collect()
        for sample in family.samples
    }

    assert ages["deltran_clearing_oldest_window_age_seconds", "Processing"] == 3600
    assert ages["deltran_clearing_outbox_events", None] == 4
    assert ages["deltran_clearing_outbox_lag_seconds", None] > 3600


def test_each_instruction_that_is_not_final_has_its_age() -> None:
    circle(1000)
    run = running(closed(obligation(A, B, 5), min_netting_efficiency_bps=0), applied=4)
    waiting = list(SettlementInstruction.objects.filter(batch_id=run.pk))
    later = max(each.created_at for each in waiting) + timedelta(minutes=2)

    ages = {
        sample.labels["instruction_id"]: (sample.labels["status"], sample.value)
        for family in TableCollector(at=later).collect()
        for sample in family.samples
        if sample.name == "deltran_settlement_instruction_age_seconds"
    }

    assert set(ages) == {str(each.pk) for each in waiting}
    assert {status for status, _ in ages.values()} == {"Pending"}
    assert min(age for _, age in ages.values()) >= 120
