"""The risk engine: asked about each instruction once, before finality; without approval nothing is sent."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest
from pytest_django.fixtures import Settings

from clearing import finality, operations, pipeline, windows
from clearing.finality import RiskRejected, RiskUnanswered
from clearing.models import AtomicOperation
from clearing.pipeline import RunHeld
from clearing.states import WindowStatus
from clearing_project import remote
from settlement.models import LedgerEntry, RiskVerdict, SettlementInstruction
from settlement.simulators import risk_engine
from settlement.simulators.risk_engine import RiskEngine
from settlement.states import VerdictStatus
from tests.database import refused, sql
from tests.engines.conftest import Engine
from tests.engines.scenes import AT, DAY, status
from tests.factories import C, balances, circle, closed, running, snapshot, story

pytestmark = pytest.mark.django_db

Start = Callable[..., RiskEngine]


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Start a risk engine that does *mode* to the payments of one participant."""
    settings.REMOTE = {**settings.REMOTE, "TIMEOUT_SECONDS": 0.4, "ATTEMPTS_MAX": 2}
    with ExitStack() as stack:

        def start_it(mode: str = "", payer: str = C) -> RiskEngine:
            engine = RiskEngine(
                choose=lambda order: mode if order.startswith(payer) else "", late_seconds=0.05
            )
            port = stack.enter_context(risk_engine.serving(engine, "127.0.0.1:0"))
            settings.RISK_ENGINE_URL = f"http://127.0.0.1:{port}/"
            return engine

        yield start_it


def evaluated(text: str = DAY) -> AtomicOperation:
    """Clear a window as far as a worker does before its commit."""
    circle(1000)
    operation = running(closed(*story(text), min_netting_efficiency_bps=0), applied=4)
    finality.evaluate(operation.pk, at=AT)
    return operation


def verdicts(*wanted: VerdictStatus) -> int:
    return RiskVerdict.objects.filter(status__in=wanted).count()


@pytest.mark.parametrize("mode", ["", "late", "timeout", "error"])
def test_what_is_approved_in_the_end_is_settled_and_each_verdict_is_kept(start: Start, mode: str) -> None:
    engine = start(mode)
    operation = evaluated()

    assert not finality.commit(operation.pk, at=AT)
    finality.settle(operation.pk, at=AT)

    assert status(operation) == WindowStatus.COMPLETED
    assert verdicts(VerdictStatus.APPROVED) == SettlementInstruction.objects.count() == 5
    finality.evaluate(operation.pk, at=AT)
    asked_once = {key for key, count in engine.asked.items() if count == 1}
    assert len(asked_once) == (3 if mode in ("timeout", "error") else 5)


@pytest.mark.parametrize("mode", ["reject", "noise"])
def test_a_run_with_a_rejected_instruction_is_held_and_no_release_sends_it(start: Start, mode: str) -> None:
    start(mode)
    operation = evaluated()

    assert finality.commit(operation.pk, at=AT)

    operation.refresh_from_db()
    assert operation.hold_reason.startswith("risk rejected 2 instruction(s): over the limit")
    window = windows.get(operation.window_id)
    with pytest.raises(RunHeld, match="over the limit"):
        pipeline.clear(window, at=AT)
    with pytest.raises(RiskRejected):
        pipeline.clear(window, at=AT, release=True)
    with pytest.raises(RiskRejected):
        finality.settle(operation.pk, at=AT)
    assert status(operation) == WindowStatus.PROCESSING
    assert not LedgerEntry.objects.filter(posting__kind="Settlement").exists()


def test_a_run_released_beforehand_is_held_all_the_same(start: Start) -> None:
    start("reject")
    operation = evaluated()
    AtomicOperation.objects.filter(pk=operation.pk).update(is_released=True)

    assert finality.commit(operation.pk, at=AT)


def test_nothing_of_a_rejected_run_reaches_the_settlement_engine(start: Start, engine: Engine) -> None:
    engine.start()
    start("reject")
    operation = evaluated()
    finality.commit(operation.pk, at=AT)

    with pytest.raises(RiskRejected):
        finality.settle(operation.pk, at=AT)

    assert engine.service.told("received") == []


def test_with_the_policy_fail_the_run_is_rolled_back(start: Start, settings: Settings) -> None:
    settings.CLEARING = {**settings.CLEARING, "RISK_POLICY": "fail"}
    start("reject")
    circle(1000)
    cleared = closed(*story(DAY), min_netting_efficiency_bps=0)
    before = snapshot()
    operation = running(cleared, applied=4)

    finality.evaluate(operation.pk, at=AT)
    with pytest.raises(RiskRejected) as rejected:
        finality.commit(operation.pk, at=AT)
    operations.condemn(operation.pk, rejected.value, at=AT)
    operations.roll_back(operation.pk, at=AT)

    operation.refresh_from_db()
    assert (operation.status, operation.error_code) == ("RolledBack", "risk_rejected")
    assert snapshot() == before
    assert not RiskVerdict.objects.exists()


def test_a_run_rolled_back_and_cleared_again_is_evaluated_anew(start: Start) -> None:
    start("reject")
    operation = evaluated()
    finality.commit(operation.pk, at=AT)
    operations.roll_back_window(operation.window_id, at=AT, reason="rejected")
    engine = start()

    again = running(windows.get(operation.window_id), applied=4)
    finality.evaluate(again.pk, at=AT)

    assert not finality.commit(again.pk, at=AT)
    assert len(engine.asked) == 5


@pytest.mark.parametrize("mode", ["nonsense", "timeout"])
def test_an_engine_that_gives_no_verdict_holds_the_run(
    start: Start, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(risk_engine, "ONCE", ())
    start(mode)
    operation = evaluated()

    assert finality.commit(operation.pk, at=AT)

    operation.refresh_from_db()
    assert operation.hold_reason.startswith("risk gave no verdict about")
    with pytest.raises(RiskUnanswered):
        pipeline.clear(windows.get(operation.window_id), at=AT, release=True)


def test_a_run_held_for_lack_of_verdicts_settles_when_it_is_released_and_the_engine_is_back(
    start: Start, settings: Settings
) -> None:
    settings.RISK_ENGINE_URL = "http://127.0.0.1:1"
    operation = evaluated()
    assert finality.commit(operation.pk, at=AT)
    engine = start()
    remote.close()

    pipeline.clear(windows.get(operation.window_id), at=AT + timedelta(hours=1), release=True)

    assert status(operation) == WindowStatus.COMPLETED
    assert len(engine.asked) == 5
    assert balances(C)["USD"] == (700, 0)


def test_without_a_risk_engine_nobody_is_asked() -> None:
    operation = evaluated()

    assert not finality.commit(operation.pk, at=AT)

    assert not RiskVerdict.objects.exists()


def test_postgresql_refuses_finality_and_settlement_without_approval_and_a_changed_verdict(
    start: Start,
) -> None:
    start("reject")
    operation = evaluated()
    finality.commit(operation.pk, at=AT)

    with refused("finality_is_approved"):
        sql("UPDATE clearing_atomicoperation SET final_at = now() WHERE id = %s", operation.pk)
    with refused("risk_approved"):
        sql("UPDATE settlement_settlementinstruction SET status = 'InProgress'")
    with refused("risk_approved"):
        sql("UPDATE settlement_settlementinstruction SET status = 'Completed', settled_at = now()")
    with refused("append_only"):
        sql("UPDATE settlement_riskverdict SET reason = 'fine' WHERE status = 'Rejected'")
    with refused("legal_move"):
        sql("UPDATE settlement_riskverdict SET status = 'Approved' WHERE status = 'Rejected'")


def test_the_worker_asks_before_it_commits_and_rolls_back_where_that_is_the_policy(
    start: Start, settings: Settings
) -> None:
    settings.CLEARING = {**settings.CLEARING, "RISK_POLICY": "fail"}
    engine = start("reject")
    circle(1000)
    operation = running(closed(*story(DAY)), applied=4)

    with pytest.raises(RiskRejected):
        pipeline.settle(str(operation.pk))

    operation.refresh_from_db()
    assert (operation.status, operation.error_code) == ("InProgress", "risk_rejected")
    assert operation.rolling_back_at is not None
    assert len(engine.asked) == 5


def test_the_worker_settles_what_is_approved(start: Start, engine: Engine) -> None:
    engine.start()
    risk = start()
    circle(1000)
    operation = running(closed(*story(DAY), min_netting_efficiency_bps=0), applied=4)

    pipeline.settle(str(operation.pk))

    assert status(operation) == WindowStatus.COMPLETED
    assert set(risk.asked) == set(engine.count("executed"))
