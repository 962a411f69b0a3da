"""
Read a window: its traffic, run, result and positions, and what clearing it would give now.

Every door shows these figures, so they are computed once, here. Nothing is written and no lock is
held; amounts are minor units of their currency.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count, F, QuerySet, Sum

from clearing.checkpoints.obligations_collected import SumOverflow
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
from clearing.states import OperationType, ResultStatus, WindowStatus
from netting import money, multilateral
from netting.errors import SumOutOfRange
from netting.measures import Measures, share_bps
from netting.model import INT64_MAX, Pairs
from settlement.models import Participant, SettlementInstruction
from settlement.states import InstructionStatus

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


@dataclass(frozen=True, slots=True)
class ResultError:
    """Why a run was rolled back."""

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
        errors: of the run, at most one today.
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


@dataclass(frozen=True, slots=True)
class PreviewPosition:
    """What a participant would receive (+) or pay (-)."""

    participant: str
    currency: str
    debit_minor: int
    credit_minor: int
    net_minor: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What clearing would give now; every non-zero position would become one instruction."""

    window: ClearingWindow
    obligations_count: int
    currencies: list[CurrencyResult]
    efficiency_bps: int
    instructions_count: int
    positions: list[PreviewPosition]


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
        efficiency_bps=_mean_bps(currencies),
        instructions_count=instructions(window).count(),
        errors=_errors(run),
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
    """Return the batch of the window's run, by currency and parties."""
    run = run_of(window)
    batch = SettlementInstruction.objects.none() if run is None else _batch(run)
    return batch.select_related("currency", "payer", "payee").order_by(
        "currency__code", "payer__code", "payee__code"
    )


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


def preview(window: ClearingWindow) -> Preview:
    """
    Compute what clearing would give now: one GROUP BY over the partition, and the pure netting.

    Raises:
        SumOverflow: the obligations of a currency exceed 64 bits, as clearing would refuse, too.
    """
    names = dict(Participant.objects.values_list("id", "code"))
    results, rows = [], []
    for currency, pairs in _gross_pairs(window).items():
        try:
            gross = Pairs.of(*(list(column) for column in zip(*pairs, strict=True)))
        except SumOutOfRange as overflow:
            raise SumOverflow(window.pk) from overflow
        netted = multilateral.net(gross)
        measures = Measures(gross=gross.gross, net=netted.bound, bound=netted.bound)
        results.append(
            _currency_result(currency, measures, int(gross.counts.sum()), len(netted.participants))
        )
        columns = (netted.participants, netted.debit, netted.credit, netted.net)
        for key, *amounts in zip(*(column.tolist() for column in columns), strict=True):
            rows.append(PreviewPosition(names[key], currency, *amounts))
    return Preview(
        window=window,
        obligations_count=sum(row.obligations_count for row in results),
        currencies=results,
        efficiency_bps=_mean_bps(results),
        instructions_count=sum(row.net_minor != 0 for row in rows),
        positions=sorted(rows, key=lambda row: (row.currency, row.participant)),
    )


def _gross_pairs(window: ClearingWindow) -> dict[str, list[tuple[int, int, int, int]]]:
    """Add up payer, payee, gross and count by pair, per currency in order of code."""
    grouped = (
        Obligation.objects.filter(window_id=window.pk)
        .order_by()
        .values("currency_id", "payer_id", "payee_id")
        .annotate(code=F("currency__code"), gross=Sum("amount_minor"), many=Count("id"))
    )
    pairs: dict[str, list[tuple[int, int, int, int]]] = defaultdict(list)
    for row in grouped:
        if row["gross"] > INT64_MAX:
            raise SumOverflow(window.pk)
        pairs[row["code"]].append((row["payer_id"], row["payee_id"], row["gross"], row["many"]))
    return dict(sorted(pairs.items()))


def _netted(run: AtomicOperation | None) -> list[CurrencyResult]:
    if run is None:
        return []
    rows = NettingResult.objects.filter(operation=run).select_related("currency").order_by("currency__code")
    return [
        _currency_result(
            row.currency.code,
            Measures(gross=row.gross_minor, net=row.net_minor, bound=row.bound_minor),
            row.obligations_count,
            row.participants_count,
        )
        for row in rows
    ]


def _currency_result(
    currency: str, measures: Measures, obligations_count: int, participants_count: int
) -> CurrencyResult:
    return CurrencyResult(
        currency=currency,
        obligations_count=obligations_count,
        gross_minor=measures.gross,
        net_minor=measures.net,
        bound_minor=measures.bound,
        saved_minor=measures.saved,
        efficiency_bps=share_bps(measures.saved, measures.gross),
        participants_count=participants_count,
    )


def _mean_bps(currencies: list[CurrencyResult]) -> int:
    """The mean weighted by obligations, rounded down, as the window's metrics keep it."""
    obligations = sum(row.obligations_count for row in currencies)
    weighted = sum(row.efficiency_bps * row.obligations_count for row in currencies)
    return weighted // obligations if obligations else 0


def _batch(run: AtomicOperation) -> QuerySet[SettlementInstruction]:
    return SettlementInstruction.objects.filter(batch_id=run.pk)


def _status(window: ClearingWindow) -> ResultStatus | None:
    if window.status in ENDED_BADLY:
        return ResultStatus.FAILED
    if window.status != WindowStatus.COMPLETED:
        return None
    is_open = instructions(window).exclude(status=InstructionStatus.COMPLETED).exists()
    return ResultStatus.PARTIAL_SUCCESS if is_open else ResultStatus.SUCCESS


def _errors(run: AtomicOperation | None) -> list[ResultError]:
    if run is None or not run.error_code:
        return []
    return [ResultError(run.error_code, run.error_message, run.rolling_back_at or run.completed_at)]


def _processing_ms(run: AtomicOperation | None) -> int | None:
    if run is None or run.started_at is None or run.completed_at is None:
        return None
    return max(0, (run.completed_at - run.started_at) // timedelta(milliseconds=1))


BOUNDED_COUNTS = """
    SELECT shown.id, (SELECT count(*) FROM (
        SELECT FROM clearing_obligation WHERE window_id = shown.id LIMIT %s) AS counted)
    FROM unnest(%s::bigint[]) AS shown (id)
"""
