"""What came into a window, and what clearing it gave."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count, F, QuerySet, Sum

from clearing.models import (
    AtomicOperation,
    BilateralPosition,
    ClearingWindow,
    FrozenSet,
    MultilateralPosition,
    NettingResult,
    Obligation,
    WindowMetrics,
)
from clearing.operations import live_clearing
from clearing.queries.lookups import with_corrections
from clearing.states import OperationType, ResultStatus, WindowStatus
from netting import money
from netting.measures import Measures
from settlement.models import Execution, SettlementInstruction
from settlement.rails.attempts import InstructionFailed
from settlement.states import ExecutionStatus, InstructionStatus

ERRORS_MAX = 100
ENDED_BADLY = (WindowStatus.ROLLED_BACK, WindowStatus.FAILED)


@dataclass(frozen=True, slots=True)
class CurrencyTraffic:
    """What came into a window in one currency."""

    currency: str
    obligations_count: int
    gross_minor: int


@dataclass(frozen=True, slots=True)
class CurrencyResult:
    """One currency netted: what was owed, what still moves, and the least that any netting could move."""

    currency: str
    obligations_count: int
    gross_minor: int
    net_minor: int
    bound_minor: int
    saved_minor: int
    efficiency_bps: int
    participants_count: int

    @classmethod
    def of(
        cls, currency: str, measures: Measures, *, obligations_count: int, participants_count: int
    ) -> "CurrencyResult":
        """Take the figures from their measures."""
        return cls(
            currency=currency,
            obligations_count=obligations_count,
            gross_minor=measures.gross,
            net_minor=measures.net,
            bound_minor=measures.bound,
            saved_minor=measures.saved,
            efficiency_bps=measures.efficiency_bps,
            participants_count=participants_count,
        )


@dataclass(frozen=True, slots=True)
class ResultError:
    """Why a run was rolled back, or what of it could not be settled."""

    code: str
    message: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class WindowResult:
    """
    What clearing a window gave.

    Attributes:
        operation: the run; None if there was none.
        status: None while the window has not come to an end.
        obligations_count: of the run, or of the window if there is no netting to show.
        efficiency_bps: of several currencies the mean, weighted by obligations.
        errors: why the run was rolled back, or the instructions that failed at the settlement engine.
        processing_ms: from the first checkpoint to the end; None while there is none.
    """

    window: ClearingWindow
    operation: AtomicOperation | None
    status: ResultStatus | None
    obligations_count: int
    currencies: list[CurrencyResult]
    efficiency_bps: int
    instructions_count: int
    errors: list[ResultError]
    processing_ms: int | None


@dataclass(frozen=True, slots=True)
class Positions:
    """A run's positions, per participant and per pair; of no run, none."""

    multilateral: QuerySet[MultilateralPosition]
    bilateral: QuerySet[BilateralPosition]


@dataclass(frozen=True, slots=True)
class WindowVolumes:
    """
    Decimal strings of a window's only currency; each empty when it holds none or several.

    *netted* is what still moves, *saved* what need not; both are empty until the netting is done.
    """

    currency: str
    total: str
    netted: str
    saved: str


def run_of(window: ClearingWindow) -> AtomicOperation | None:
    """Return the window's live or committed clearing run or, failing that, its latest one."""
    runs = AtomicOperation.objects.filter(window=window, operation_type=OperationType.WINDOW_CLEARING)
    return live_clearing(window.pk) or runs.order_by("-created_at").first()


def traffic(window: ClearingWindow) -> list[CurrencyTraffic]:
    """
    Add up the window's obligations by currency, sorted by code.

    From the run's frozen sets when there are some; else one pass over the partition, 0.1 s a million rows.
    """
    run = live_clearing(window.pk)
    if run is not None:
        frozen = FrozenSet.objects.filter(operation=run).order_by("currency__code")
        rows = list(frozen.values_list("currency__code", "obligations_count", "gross_minor"))
        if rows:
            return [CurrencyTraffic(*row) for row in rows]
    counted = (
        Obligation.objects.filter(window_id=window.pk)
        .order_by()
        .values("currency_id")
        .annotate(code=F("currency__code"), many=Count("id"), gross=Sum("amount_minor"))
    )
    return sorted(
        (CurrencyTraffic(row["code"], row["many"], row["gross"]) for row in counted),
        key=lambda row: row.currency,
    )


def bounded_counts(window_ids: Sequence[int], *, counted_max: int) -> dict[int, int]:
    """
    Count the obligations of several windows in one query, each up to one above *counted_max*.

    A list of windows costs the same whether they hold thousands or millions.
    """
    with connection.cursor() as cursor:
        cursor.execute(BOUNDED_COUNTS, [counted_max + 1, list(window_ids)])
        return dict(cursor.fetchall())


def result(window: ClearingWindow) -> WindowResult:
    """Return what clearing the window gave so far."""
    run = run_of(window)
    currencies = _netted(run)
    metrics = WindowMetrics.objects.filter(window=window).first()
    counted: Sequence[CurrencyTraffic | CurrencyResult] = currencies or traffic(window)
    return WindowResult(
        window=window,
        operation=run,
        status=_status(window),
        obligations_count=sum(row.obligations_count for row in counted),
        currencies=currencies,
        efficiency_bps=mean_bps(currencies),
        instructions_count=instructions(window).count(),
        errors=[*_errors(run), *_failed(run)],
        processing_ms=metrics.processing_ms if metrics else _processing_ms(run),
    )


def positions(window: ClearingWindow) -> Positions:
    """Return the positions of the window's run, by currency and participant, with their parties."""
    run = run_of(window)
    by_participant = MultilateralPosition.objects.filter(operation=run) if run else None
    by_pair = BilateralPosition.objects.filter(operation=run) if run else None
    return Positions(
        (by_participant if by_participant is not None else MultilateralPosition.objects.none())
        .select_related("currency", "participant")
        .order_by("currency__code", "participant__code"),
        (by_pair if by_pair is not None else BilateralPosition.objects.none())
        .select_related("currency", "participant_a", "participant_b")
        .order_by("currency__code", "participant_a__code", "participant_b__code"),
    )


def instructions(window: ClearingWindow) -> QuerySet[SettlementInstruction]:
    """Return the batch of the window's run, by currency and parties, with what corrected it."""
    run = run_of(window)
    batch = SettlementInstruction.objects.none() if run is None else with_corrections(_batch(run))
    return batch.select_related("currency", "payer", "payee").order_by(
        "currency__code", "payer__code", "payee__code"
    )


def failed(window: ClearingWindow) -> QuerySet[SettlementInstruction]:
    """Return the instructions of the window's run that the settlement engine failed."""
    return instructions(window).filter(status=InstructionStatus.FAILED)


def efficiency_bps(window: ClearingWindow) -> int:
    """Return the efficiency of the window's run; 0 while nothing is netted."""
    return mean_bps(_netted(run_of(window)))


def mean_bps(currencies: list[CurrencyResult]) -> int:
    """The mean weighted by obligations, rounded down, as the window's metrics keep it."""
    obligations = sum(row.obligations_count for row in currencies)
    weighted = sum(row.efficiency_bps * row.obligations_count for row in currencies)
    return weighted // obligations if obligations else 0


def single_currency_total(window: ClearingWindow) -> WindowVolumes:
    """Return the volumes of a window that holds one currency; amounts of several do not add up."""
    rows = traffic(window)
    if len(rows) != 1:
        return WindowVolumes("", "", "", "")
    currency = rows[0].currency
    netted = _netted(run_of(window))
    return WindowVolumes(
        currency=currency,
        total=money.format_minor(rows[0].gross_minor, currency),
        netted=money.format_minor(netted[0].net_minor, currency) if netted else "",
        saved=money.format_minor(netted[0].saved_minor, currency) if netted else "",
    )


def _netted(run: AtomicOperation | None) -> list[CurrencyResult]:
    if run is None:
        return []
    rows = NettingResult.objects.filter(operation=run).select_related("currency").order_by("currency__code")
    return [
        CurrencyResult.of(
            row.currency.code,
            Measures(gross=row.gross_minor, net=row.net_minor, bound=row.bound_minor),
            obligations_count=row.obligations_count,
            participants_count=row.participants_count,
        )
        for row in rows
    ]


def _batch(run: AtomicOperation) -> QuerySet[SettlementInstruction]:
    return SettlementInstruction.objects.filter(batch_id=run.pk)


def _status(window: ClearingWindow) -> ResultStatus | None:
    if window.status in ENDED_BADLY:
        return ResultStatus.FAILED
    if window.status == WindowStatus.SETTLING:
        return ResultStatus.PARTIAL_SUCCESS if failed(window).exists() else None
    return ResultStatus.SUCCESS if window.status == WindowStatus.COMPLETED else None


def _errors(run: AtomicOperation | None) -> list[ResultError]:
    if run is None or not run.error_code:
        return []
    return [ResultError(run.error_code, run.error_message, run.rolling_back_at or run.completed_at)]


def _failed(run: AtomicOperation | None) -> list[ResultError]:
    """Name the instructions that the settlement engine failed to execute, up to a bound."""
    if run is None or run.final_at is None:
        return []
    last = Execution.objects.filter(
        batch_id=run.pk,
        status=ExecutionStatus.FAILED,
        instruction__status=InstructionStatus.FAILED,
    )
    errors = []
    for row in last.order_by("instruction_id", "-attempt").distinct("instruction_id")[:ERRORS_MAX]:
        failure = InstructionFailed(str(row.instruction_id), row.attempt, row.message or "no reason given")
        errors.append(ResultError(failure.code, str(failure), row.sent_at))
    return errors


def _processing_ms(run: AtomicOperation | None) -> int | None:
    if run is None or run.started_at is None or run.completed_at is None:
        return None
    return max(0, (run.completed_at - run.started_at) // timedelta(milliseconds=1))


BOUNDED_COUNTS = """
    SELECT shown.id, (SELECT count(*) FROM (
        SELECT FROM clearing_obligation WHERE window_id = shown.id LIMIT %s) AS counted)
    FROM unnest(%s::bigint[]) AS shown (id)
"""
