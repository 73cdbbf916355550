"""Numbers and intervals as text."""

from collections.abc import Sequence

NONE = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | int | None, digits: int = 3) -> str:
    """Format a number with significant digits, separated thousands and no e-notation; – where undefined."""
    if value is None or value != value:
        return NONE
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    # Rounded first: 999.7 has four digits once three of them are kept.
    rounded = float(f"{value:.{digits - 1}e}")
    if rounded == 0:
        text = "0"
    elif 1e-4 <= abs(rounded) < 10**digits:
        text = f"{rounded:#.{digits}g}".rstrip(".")
    elif 10**digits <= abs(rounded) < 1e15:
        text = f"{value:,.0f}"
    else:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        text = f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return text.replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """Format the limits of an interval; – where undefined."""
    if low is None or high is None or low != low or high != high:
        return NONE
    return f"{number(low)} … {number(high)}"


def many(count: int, noun: str) -> str:
    """Format a count with its noun: ``1 document``, ``2 documents``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def experts_words(experts: Sequence[int]) -> str:
    """Format the experts of one choice, such as ``0,3``."""
    return ",".join(map(str, experts))
