"""A run that netting hardly helped waits for an operator, unless it was released beforehand."""

import pytest

from clearing import finality, operations, steps
from clearing.states import OperationType
from tests.factories import AT, A, B, apply, circle, closed, obligation

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("is_released", [True, False])
def test_a_run_released_beforehand_is_not_held(is_released: bool) -> None:
    circle()
    shut = closed(obligation(A, B, 100))
    operation = operations.create(shut, OperationType.WINDOW_CLEARING, is_released=is_released)
    operations.start(operation, at=AT)
    for step in range(4):
        apply(operation, step)

    held = finality.commit(operation.pk, at=AT)

    assert held is not is_released
    assert bool(steps.get(operation.pk).hold_reason) is not is_released
