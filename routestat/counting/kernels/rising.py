"""Compiled logarithms of rising factorials, with their first two derivatives, summed over cells of columns."""

import math

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, inlined

#: From here on the series of Stirling and their derivatives are exact in a double's digits.
FAR = 20


@inlined
def _series(x: float) -> tuple[float, float, float]:  # pragma: no cover - compiled
    """Return what ln Γ(x) has beyond (x − 1/2) ln x − x + ln(2π)/2, what ψ(x) has beyond ln x, and ψ'(x)."""
    one = 1.0 / x
    s = one * one
    log = one * (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s / 1188))))
    first = -0.5 * one - s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s / 132))))
    second = one * (1.0 + 0.5 * one + s * (1 / 6 - s * (1 / 30 - s * (1 / 42 - s * (1 / 30 - s * 5 / 66)))))
    return log, first, second


@compiled
def rising_sums(
    starts: Array, counts: Array, repeats: Array, alpha: Array, sums: Array
) -> None:  # pragma: no cover - compiled
    """Sum ln Γ(a + n) − ln Γ(a), ψ(a + n) − ψ(a) and ψ'(a + n) − ψ'(a) over cells, to ``sums[order, column]``.

    The cells of column c are those from ``starts[c]`` to ``starts[c + 1]``; each has a count n and stands for as many
    as `repeats` says; a is ``alpha[c]``. The first `FAR` factors are multiplied one by one where a is below `FAR`; from
    there on the series are subtracted term by term, so that the first two sums lose no digits where a is large.
    """
    near = np.zeros((3, FAR + 1))
    for c in range(len(alpha)):
        a, steps = alpha[c], 0
        if a < FAR:
            product, steps = 1.0, FAR
            for i in range(FAR):
                x = a + i
                product *= x
                near[0, i + 1] = math.log(product)
                near[1, i + 1] = near[1, i] + 1.0 / x
                near[2, i + 1] = near[2, i] - 1.0 / (x * x)
        base = a + steps
        log_base, (log, first, second) = math.log(base), _series(base)
        for order in range(3):
            sums[order, c] = 0.0
        for i in range(starts[c], starts[c + 1]):
            n, times = counts[i], repeats[i]
            if n <= steps:
                for order in range(3):
                    sums[order, c] += times * near[order, n]
                continue
            rest = float(n - steps)
            more = math.log1p(rest / base)
            own_log, own_first, own_second = _series(base + rest)
            value = (base - 0.5) * more - rest + rest * (log_base + more) + (own_log - log)
            sums[0, c] += times * (near[0, steps] + value)
            sums[1, c] += times * (near[1, steps] + more + (own_first - first))
            sums[2, c] += times * (near[2, steps] + (own_second - second))
