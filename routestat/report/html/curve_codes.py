"""Curves of shares as short text for the page: two characters for a value in thousandths."""

import math
from collections.abc import Iterable

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
#: What is undefined.
UNDEFINED = "zz"


def encoded(shares: Iterable[float | None]) -> str:
    """Return shares between 0 and 1 in thousandths and base 36."""
    return "".join(map(_code, shares))


def decoded(text: str) -> list[int | None]:
    """Return the thousandths of an encoded text, None where undefined."""
    pairs = [text[at : at + 2] for at in range(0, len(text), 2)]
    return [None if pair == UNDEFINED else int(pair, 36) for pair in pairs]


def _code(share: float | None) -> str:
    if share is None or not math.isfinite(share):
        return UNDEFINED
    whole = min(max(round(1000 * share), 0), 1000)
    return _DIGITS[whole // 36] + _DIGITS[whole % 36]
