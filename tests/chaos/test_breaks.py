"""The list of breaks fits the code: each is made in one place, and the test that must notice it is there."""

import pytest

from tests.breaks.__main__ import BREAKS, ROOT
from tests.breaks.model import Break


@pytest.mark.parametrize("each", BREAKS, ids=lambda each: each.name)
def test_a_break_is_made_in_exactly_one_place(each: Break) -> None:
    assert (ROOT / each.path).read_text("utf-8").count(each.old) == 1
    assert each.old != each.new
    assert (ROOT / each.test).is_file()


def test_no_two_breaks_are_the_same() -> None:
    assert len({each.name for each in BREAKS}) == len(BREAKS)
