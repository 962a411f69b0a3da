"""Amounts between text and minor units."""

import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netting import money

currencies = st.sampled_from(sorted(money.EXPONENTS))
amounts = st.integers(min_value=1, max_value=money.AMOUNT_MAX)


@given(amounts, currencies)
def test_an_amount_survives_the_wire_both_ways(minor: int, currency: str) -> None:
    text = money.format_minor(minor, currency)

    assert money.parse_minor(text, currency) == minor
    assert Decimal(text).as_tuple().exponent == -money.exponent(currency)


@given(st.integers(min_value=-money.AMOUNT_MAX, max_value=money.AMOUNT_MAX), currencies)
def test_format_agrees_with_decimal_arithmetic(minor: int, currency: str) -> None:
    text = money.format_minor(minor, currency)

    assert Decimal(text) == Decimal(minor).scaleb(-money.exponent(currency))
    assert text == str(Decimal(minor).scaleb(-money.exponent(currency)).__format__("f"))


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("1000.00", "USD", 100_000),
        ("1000", "USD", 100_000),
        ("1000.5", "USD", 100_050),
        ("1000", "JPY", 1_000),
        ("0.001", "BHD", 1),
        ("0.0001", "CLF", 1),
        ("007", "USD", 700),
        ("92233720368547758.07", "USD", 2**63 - 1),
        ("9223372036854775807", "JPY", 2**63 - 1),
    ],
)
def test_amounts_are_read_exactly(text: Any, currency: str, minor: int) -> None:
    assert money.parse_minor(text, currency) == minor


INVALID: list[Any] = [
    "",
    " ",
    "-",
    ".",
    "..",
    "5.",
    ".5",
    "1.2.3",
    "+5",
    "1e5",
    "1E5",
    "0x10",
    "1_000",
    "1,000",
    " 1",
]
INVALID += ["1 ", "1\n", "NaN", "Infinity", "١", "²", "１", "--5", "5-", None, 5, 1.5, b"5", True, Decimal(5)]


@pytest.mark.parametrize("text", INVALID)
def test_what_is_not_an_amount_is_refused(text: Any) -> None:
    with pytest.raises(money.AmountInvalid):
        money.parse_minor(text, "USD")


@pytest.mark.parametrize(
    ("text", "currency", "code"),
    [
        ("1", "XXX", "unknown_currency"),
        ("1", "usd", "unknown_currency"),
        ("1", "", "unknown_currency"),
        ("1", None, "unknown_currency"),
        ("1", "XAU", "unknown_currency"),
        ("1", "BGN", "unknown_currency"),
        ("1.000", "USD", "too_many_decimals"),
        ("1.0", "JPY", "too_many_decimals"),
        ("1.0001", "BHD", "too_many_decimals"),
        ("0", "USD", "amount_not_positive"),
        ("0.00", "USD", "amount_not_positive"),
        ("-1.00", "USD", "amount_not_positive"),
        ("-0", "JPY", "amount_not_positive"),
        ("92233720368547758.08", "USD", "amount_out_of_range"),
        ("9223372036854775808", "JPY", "amount_out_of_range"),
        ("9" * 5_000, "USD", "amount_out_of_range"),
    ],
)
def test_each_refusal_has_its_code(text: Any, currency: str, code: Any) -> None:
    with pytest.raises(money.MoneyError) as refused:
        money.parse_minor(text, currency)

    assert refused.value.code == code
    assert str(refused.value)


@given(st.text(max_size=30))
def test_any_text_is_an_amount_or_a_coded_error(text: Any) -> None:
    try:
        minor = money.parse_minor(text, "USD")
    except money.MoneyError as error:
        refused: money.MoneyError | None = error
    else:
        refused = None
        assert Decimal(text) * 100 == minor

    assert refused is None or refused.code != "money_error"


def test_zero_is_accepted_only_on_request() -> None:
    assert money.parse_minor("0.00", "USD", zero_ok=True) == 0


@pytest.mark.parametrize("call", [money.exponent, lambda code: money.format_minor(1, code)])
@pytest.mark.parametrize("code", ["ZZZ", None, "eur", []])
def test_unknown_currencies_have_no_exponent_and_no_format(call: Callable[[Any], Any], code: Any) -> None:
    with pytest.raises(money.UnknownCurrency):
        call(code)


def test_an_error_survives_pickling_and_rebuilding_from_its_arguments() -> None:
    error = money.TooManyDecimals("1.000", "USD")

    for copy in (pickle.loads(pickle.dumps(error)), type(error)(*error.args)):
        assert (copy.code, copy.args, str(copy)) == (error.code, error.args, str(error))
        assert copy.details == {"amount": "1.000", "currency": "USD"}


def test_the_table_holds_the_currencies_of_the_standard() -> None:
    by_exponent = dict.fromkeys((0, 2, 3, 4), 0)
    for places in money.EXPONENTS.values():
        by_exponent[places] += 1

    assert by_exponent == {0: 17, 2: 139, 3: 7, 4: 2}
    assert all(len(code) == 3 and code.isupper() for code in money.EXPONENTS)
