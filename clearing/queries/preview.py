"""What clearing a window would give now; nothing is written and no lock is held."""

from collections import defaultdict
from dataclasses import dataclass

from django.db.models import Count, F, Sum
from django.db.models.expressions import RawSQL

from clearing import weights
from clearing.checkpoints.obligations_collected import SumOverflow
from clearing.models import ClearingWindow, Obligation
from clearing.queries.results import CurrencyResult, mean_bps
from clearing.states import NettingMode, Transfers
from netting import modes, transfers
from netting.errors import SumOutOfRange
from netting.model import INT64_MAX, Pairs
from netting.modes import Outcome
from settlement.models import Participant

GrossPairs = list[tuple[int, ...]]  # payer, payee, gross, count and, where obligations are weighed, weight


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
    """What clearing would give now."""

    window: ClearingWindow
    obligations_count: int
    currencies: list[CurrencyResult]
    efficiency_bps: int
    instructions_count: int
    positions: list[PreviewPosition]


def preview(window: ClearingWindow) -> Preview:
    """
    Compute what clearing would give now: one GROUP BY over the partition, and the pure netting.

    Raises:
        SumOverflow, WeightedSumOverflow: the obligations of a currency exceed 64 bits, as clearing would
            refuse, too.
    """
    codes = dict(Participant.objects.values_list("id", "code"))
    results: list[CurrencyResult] = []
    positions: list[PreviewPosition] = []
    instructions_count = 0
    for currency, rows in _gross_pairs(window).items():
        outcome = _net(window, rows)
        found = outcome.positions
        results.append(
            CurrencyResult.of(
                currency,
                outcome.measures,
                obligations_count=int(outcome.pairs.counts.sum()),
                participants_count=len(found.participants),
            )
        )
        columns = (found.participants, found.debit, found.credit, found.net)
        for key, *amounts in zip(*(column.tolist() for column in columns), strict=True):
            positions.append(PreviewPosition(codes[key], currency, *amounts))
        instructions_count += _legs(window, outcome)
    return Preview(
        window=window,
        obligations_count=sum(row.obligations_count for row in results),
        currencies=results,
        efficiency_bps=mean_bps(results),
        instructions_count=instructions_count,
        positions=sorted(positions, key=lambda row: (row.currency, row.participant)),
    )


def _net(window: ClearingWindow, rows: GrossPairs) -> Outcome:
    payers, payees, gross, counts, *weight = (list(column) for column in zip(*rows, strict=True))
    try:
        pairs = Pairs.of(payers, payees, gross, counts, weights=weight[0] if weight else None)
    except SumOutOfRange as overflow:
        raise SumOverflow(window.pk) from overflow
    weights.bound(pairs, window.pk)
    return modes.net(pairs, mode=window.netting_mode)


def _legs(window: ClearingWindow, outcome: Outcome) -> int:
    """Count the instructions that the outcome would take."""
    if window.netting_mode != NettingMode.MULTILATERAL:
        return len(outcome.residual)
    draw = transfers.direct if window.transfers == Transfers.DIRECT else transfers.agent
    return len(draw(outcome.positions))


def _gross_pairs(window: ClearingWindow) -> dict[str, GrossPairs]:
    """Add up payer, payee, gross and count by pair and weight, per currency in order of code."""
    key, rows = ["currency_id", "payer_id", "payee_id"], Obligation.objects.filter(window_id=window.pk)
    if weight := weights.expression(window):
        weighed = RawSQL(weight, ())  # noqa: S611 - nothing from outside is in it # nosec B611
        key, rows = [*key, "weight"], rows.annotate(weight=weighed)
    grouped = (
        rows.order_by()
        .values(*key)
        .annotate(code=F("currency__code"), gross=Sum("amount_minor"), many=Count("id"))
    )
    pairs: dict[str, GrossPairs] = defaultdict(list)
    for row in grouped:
        if row["gross"] > INT64_MAX:
            raise SumOverflow(window.pk)
        weight_of = (row["weight"],) if weight else ()
        pairs[row["code"]].append((row["payer_id"], row["payee_id"], row["gross"], row["many"], *weight_of))
    return dict(sorted(pairs.items()))
