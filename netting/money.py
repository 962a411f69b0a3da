"""
Money on the wire: ISO 4217 exponents, and amounts between decimal strings and integer minor units.

The table is ISO 4217 list one as published 2026-01-01, active codes that have a minor unit. It was
compared with three libraries:

- ``iso4217`` 1.16.20260101 (the publisher's own list) and ``py-moneyed`` agree on every exponent;
  py-moneyed lacks XAD, XCG and ZWG and still lists withdrawn codes (ANG, BGN, CUC, HRK, SLL ...).
- ``babel`` (CLDR) gives 0 decimals to AFN, ALL, IQD, IRR, KPW, LAK, LBP, MGA, MMK, RSD, SOS, SYP
  and YER: what is customary in print, not the minor unit. The ISO figure rules here.
- ISO gives MGA and MRU 2 decimals although one ariary and one ouguiya have 5 parts.

Codes without a minor unit (XAU, XAG, XPT, XPD, XDR, XSU, XUA, XBA to XBD, XTS, XXX) are unknown
here: an amount in them has no smallest unit to count.
"""

from types import MappingProxyType
from typing import Final

from netting.errors import NettingError

AMOUNT_MAX: Final = 2**63 - 1  # what a signed 64-bit column holds
_TEXT_MAX: Final = 64  # longer than any amount in range, and short enough for int() to stay cheap

_CODES_BY_EXPONENT: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
        CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
        GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL
        MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR
        PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
        TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

EXPONENTS: Final = MappingProxyType(
    {code: exponent for exponent, codes in _CODES_BY_EXPONENT.items() for code in codes.split()}
)
_EXPONENTS: Final[dict[str, int]] = dict(EXPONENTS)  # a plain dict answers twice as fast as its proxy
_POWERS: Final = (1, 10, 100, 1_000, 10_000)


class MoneyError(NettingError):
    """An amount or currency that cannot be taken as it stands."""

    code = "money_error"


class UnknownCurrency(MoneyError):
    """Not an active ISO 4217 code with a minor unit."""

    code = "unknown_currency"
    fields = ("currency",)
    message = "{currency!r} is not an active ISO 4217 currency."


class AmountInvalid(MoneyError):
    """Not of the form digits[.digits]."""

    code = "amount_invalid"
    fields = ("amount", "currency")
    message = "{amount!r} is not an amount: digits, and a point between digits."


class TooManyDecimals(MoneyError):
    """More decimals than the currency has; never rounded."""

    code = "too_many_decimals"
    fields = ("amount", "currency")
    message = "{amount} has more decimals than {currency} has."


class AmountNotPositive(MoneyError):
    """Well formed, but zero or below."""

    code = "amount_not_positive"
    fields = ("amount", "currency")
    message = "{amount} is not above zero."


class AmountOutOfRange(MoneyError):
    """More minor units than 64 bits hold."""

    code = "amount_out_of_range"
    fields = ("amount", "currency")
    message = "{amount} {currency} exceeds 9223372036854775807 minor units."


def exponent(currency: str) -> int:
    """
    Return how many decimals *currency* has.

    Raises:
        UnknownCurrency: not an active ISO 4217 code.
    """
    try:
        return _EXPONENTS[currency]
    except (KeyError, TypeError):
        raise UnknownCurrency(currency) from None


def parse_minor(text: str, currency: str, *, zero_ok: bool = False) -> int:
    """
    Return the minor units of the decimal string *text*.

    ``digits[.digits]`` in ASCII, with at most the currency's decimals; fewer are accepted. No sign,
    exponent, separator, space or other script's digits.

    Args:
        text: the amount in major units; anything but a string is refused.
        currency: ISO 4217 code.
        zero_ok: accept zero, as a balance may be zero and an obligation may not.

    Raises:
        UnknownCurrency, AmountInvalid, TooManyDecimals, AmountNotPositive, AmountOutOfRange.

    0.4 us a call: it stands in the path of every obligation.
    """
    try:
        places = _EXPONENTS[currency]
        whole, point, fraction = text.partition(".")
        digits = whole + fraction
    except (KeyError, TypeError, AttributeError):
        raise _refusal(text, currency) from None
    missing = places - len(fraction)
    if not (digits.isdigit() and digits.isascii() and len(digits) < _TEXT_MAX) or missing < 0:
        raise _refusal(text, currency)
    if not whole or (point and not fraction):
        raise AmountInvalid(text, currency)
    minor = int(digits) * _POWERS[missing]
    if minor > AMOUNT_MAX:
        raise AmountOutOfRange(text, currency)
    if minor == 0 and not zero_ok:
        raise AmountNotPositive(text, currency)
    return minor


def format_minor(minor: int, currency: str) -> str:
    """
    Return *minor* units as a decimal string with exactly the currency's decimals.

    Negative amounts carry a leading minus. ``parse_minor`` reads every positive answer back.

    Raises:
        UnknownCurrency: not an active ISO 4217 code.
    """
    try:
        places = _EXPONENTS[currency]
    except (KeyError, TypeError):
        raise UnknownCurrency(currency) from None
    if places == 0:
        return str(minor)
    digits = str(abs(minor)).rjust(places + 1, "0")
    sign = "-" if minor < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


def _refusal(text: object, currency: str) -> MoneyError:
    """Name what is wrong with an amount that left the fast path."""
    places = exponent(currency)
    if not isinstance(text, str):
        return AmountInvalid(text, currency)
    unsigned = text.removeprefix("-")
    whole, point, fraction = unsigned.partition(".")
    digits = whole + fraction
    well_formed = digits.isascii() and digits.isdigit() and whole and bool(fraction) == bool(point)
    if not well_formed:
        return AmountInvalid(text[:_TEXT_MAX], currency)
    if len(fraction) > places:
        return TooManyDecimals(text[:_TEXT_MAX], currency)
    if text.startswith("-"):
        return AmountNotPositive(text[:_TEXT_MAX], currency)
    return AmountOutOfRange(text[:_TEXT_MAX], currency)
