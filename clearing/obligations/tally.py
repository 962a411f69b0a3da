"""Count what came of obligations offered, at whatever door: for the metrics alone."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from django.db import transaction

from clearing.obligations.items import Intake, ObligationsRejected, Outcome, OutcomeStatus
from clearing_project import counts

FAMILY = "obligations"
REFUSED = OutcomeStatus.REJECTED.value

Given = ParamSpec("Given")
Answer = TypeVar("Answer", Intake, dict[int, Outcome])


def tallied(verb: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Count the outcomes *verb* gives once they are committed, and the items it rejects together."""

    @wraps(verb)
    def counting(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        try:
            answer = verb(*args, **kwargs)
        except ObligationsRejected as refused:
            _count((REFUSED, item["code"]) for item in refused.details["items"])
            raise
        taken = [(outcome.status.value, outcome.code) for outcome in _outcomes(answer)]
        if taken:
            transaction.on_commit(partial(_count, taken), robust=True)
        return answer

    return counting


def _outcomes(answer: Intake | dict[int, Outcome]) -> Iterable[Outcome]:
    return answer.outcomes if isinstance(answer, Intake) else answer.values()


def _count(outcomes: Iterable[tuple[str, str]]) -> None:
    counts.add(FAMILY, {f"{status}:{code}": count for (status, code), count in Counter(outcomes).items()})
