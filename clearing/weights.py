"""
What setting an obligation off is worth in a window that nets conservatively, as in ``netting.weights``.

In SQL, so that a million obligations are weighed in the pass that adds them up.
"""

from typing import Final

from clearing.models import ClearingWindow, RegionSchedule
from clearing.states import NettingMode, Weights
from clearing_project.errors import Conflict, Invalid
from netting.model import INT64_MAX, Pairs, weighted


class WeightsNeedConservative(Invalid):
    """Only conservative netting chooses what to set off; in any other mode weights would change nothing."""

    code = "weights_need_conservative"
    fields = ("weights", "netting_mode")
    message = "Weights by {weights} need conservative netting; this window is netted in mode {netting_mode}."


class ObligationTooOld(Conflict):
    """An obligation is older at the cutoff than a weight holds."""

    code = "obligation_too_old"
    fields = ("window_id",)
    message = "Window {window_id} holds an obligation of a million days or more at its cutoff."


class WeightedSumOverflow(Conflict):
    """The obligations of a currency, each amount times its weight, add up to more than 2^63-1."""

    code = "weighted_sum_overflow"
    fields = ("window_id",)
    message = "Obligations of window {window_id}, times their weights, add up to more than 64 bits hold."


SQL: Final = {
    Weights.PRIORITY: "1 + priority",
    # a difference of moments is exact, and a day of it 24 hours
    Weights.AGE: "1 + greatest(0, floor(extract(epoch FROM timestamptz '{cutoff_at}' - submitted_at)"
    " / 86400))::integer",
}


def of_window(asked: Weights | None, *, schedule: RegionSchedule, mode: str) -> Weights:
    """
    Return the weights of a window that opens in *mode*: those asked for, else the region's.

    The region's are for its conservative windows; one opened in another mode has none.

    Raises:
        WeightsNeedConservative: asked for in another mode.
    """
    conservative = mode == NettingMode.CONSERVATIVE
    if asked is None:
        return Weights(schedule.weights) if conservative else Weights.NONE
    if asked != Weights.NONE and not conservative:
        raise WeightsNeedConservative(asked.value, mode)
    return asked


def expression(window: ClearingWindow) -> str | None:
    """Return the weight of a row of the window's partition in SQL, or None where all weigh the same."""
    sql = SQL.get(Weights(window.weights))
    return sql and sql.format(cutoff_at=window.cutoff_at.isoformat())


def bound(pairs: Pairs, window_id: int) -> None:
    """
    Refuse pairs whose weighted sum leaves 64 bits, which the certificate's columns hold.

    Raises:
        WeightedSumOverflow
    """
    if weighted(pairs, pairs.gross_minor) > INT64_MAX:
        raise WeightedSumOverflow(window_id)
