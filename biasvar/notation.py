"""Numbers with their uncertainty, as they are printed in papers."""

import math

SUPERSCRIPTS = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def with_error(value: float, error: float, *, powers: bool = False) -> str:
    """Write a value with its standard error in the usual notation.

    The digits in parentheses are the standard error in units of the last digit shown: one digit of it, two where the
    first is a 1. A question mark stands for a number whose standard error does not exist: it may be off by anything.
    With ``powers``, numbers below 1e-3 get a power of ten; else what is below 1e-12 without error is zero.

    Examples
    --------
    >>> with_error(1.6762823, 0.0000034)
    '1.676282(3)'
    >>> with_error(0.25, 0.0123)
    '0.250(12)'
    >>> with_error(1234.5, 67)
    '1230(70)'
    >>> with_error(0.5, 0.0), with_error(0.5, math.nan), with_error(math.inf, math.nan)
    ('0.5', '?', 'inf')
    >>> with_error(3.021e-10, 7e-12, powers=True)
    '3.02(7)e-10'
    """
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if math.isnan(error):
        return "?"
    if powers and 0 < abs(value) < 1e-3:
        power = math.floor(math.log10(abs(value)))
        return f"{with_error(value / 10.0**power, error / 10.0**power)}e{power}"
    if error <= 1e-9 * max(abs(value), 1e-3):  # exact, but for rounding
        return f"{_tidy(value):.9g}"
    place = math.floor(math.log10(error))
    digits = round(error / 10**place)
    if digits >= 10:
        place, digits = place + 1, 1
    if digits == 1:
        place -= 1
        digits = round(error / 10**place)
    if place >= 0:
        return f"{round(value / 10**place) * 10**place}({digits * 10**place})"
    return f"{value:.{-place}f}({digits})"


def brief(value: float, error: float) -> str:
    """Write a value in as few digits as a title needs, three where more are known.

    Examples
    --------
    >>> brief(0.20671684, 3e-9), brief(0.0154, 0.0006), brief(0.5, math.nan)
    ('0.207', '0.0154(6)', '?')
    """
    return plainly(value) if error < 5e-4 * abs(value) else with_error(value, error)


def plainly(value: float, digits: int = 3) -> str:
    """Write a number in a few digits, without a power of ten from 0.0001 up to a million.

    Examples
    --------
    >>> plainly(1063.2), plainly(-705.6, 2), plainly(0.5), plainly(1e-9)
    ('1060', '-710', '0.5', '1e-09')
    """
    return f"{float(f'{value:.{digits}g}'):g}"


def with_power(value: float) -> str:
    """Write a number with a power of ten, one digit before it unless that is 1.

    Examples
    --------
    >>> with_power(1e-12), with_power(-6000.0), with_power(0.0)
    ('10\u207b\u00b9\u00b2', '-6\u00d710\u00b3', '0')
    """
    if value == 0:
        return "0"
    digit, _, exponent = f"{abs(value):.0e}".partition("e")
    power = "10" + str(int(exponent)).translate(SUPERSCRIPTS)
    return ("-" if value < 0 else "") + (power if digit == "1" else f"{digit}\N{MULTIPLICATION SIGN}{power}")


def rounded(value: float, digits: int = 2) -> str:
    """Write a number by itself, a standard error in two digits; a question mark where there is none.

    Examples
    --------
    >>> rounded(330.4), rounded(0.01234), rounded(0.0), rounded(math.nan)
    ('330', '0.012', '0', '?')
    """
    if math.isnan(value):
        return "?"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e9:
        return f"{value:.{digits}g}"
    place = math.floor(math.log10(abs(value))) + 1 - digits
    return f"{round(value / 10**place) * 10**place:.{max(-place, 0)}f}"


def _tidy(value: float) -> float:
    """Round away what is rounding error of a short decimal."""
    return 0.0 if abs(value) < 1e-12 else value
