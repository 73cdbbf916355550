"""The compiled sum of expected draws over cells, at several strengths at a time."""

import math

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, within

# Up to this count psi is differenced term by term; beyond, Stirling's series of psi has 12 digits.
SHORT = 8
# Where single figures are wanted it begins where it has 15.
FAR = 16


@compiled
def summed_draws(
    counts: Array, base: Array, times: Array, strengths: Array
) -> Array:  # pragma: no cover - compiled
    """Sum times · a (psi(a + c) - psi(a)) with a = s · base over the cells, for every strength s.

    Parameters
    ----------
    counts : float array ``[cell]``
        c, above zero; whole or not.
    base, times : float array ``[cell]``
    strengths : float array ``[strength]``
        A multiple of eight of them take as long as fewer: they are divided by at once.

    Returns
    -------
    float array ``[strength]``
    """
    n = len(strengths)
    total, inverse, ratio = np.zeros(n), 1.0 / strengths, np.empty(n)
    for i in range(len(counts)):
        c, p, w = counts[i], base[i], times[i]
        whole = c == np.floor(c)
        further = c
        if whole:
            # Of whole counts psi(a + c) - psi(a) is 1/a + 1/(a + 1) + …; over a, the first term is one.
            for j in range(n):
                total[j] += w
            for k in range(1, min(SHORT, int(c))):
                for j in range(n):
                    total[j] += w * p / (p + k * inverse[j])
            if c <= SHORT:
                continue
            further = c - SHORT
        else:
            # psi(x + SHORT) - psi(x) at both ends, term by term; all over s twice.
            for k in range(SHORT):
                for j in range(n):
                    r = inverse[j]
                    total[j] += w * p * c * r / ((p + k * r) * (p + (c + k) * r))
        for j in range(n):
            a = strengths[j] * p
            rx, ry = 1.0 / (a + SHORT), 1.0 / (a + SHORT + further)
            ux, uy = rx * rx, ry * ry
            tail = ux * (1 / 12 - ux * (1 / 120 - ux * (1 / 252 - ux * (1 / 240 - ux / 132))))
            tail -= uy * (1 / 12 - uy * (1 / 120 - uy * (1 / 252 - uy * (1 / 240 - uy / 132))))
            total[j] += w * a * (0.5 * (rx - ry) + tail)
            ratio[j] = 1.0 + further * rx
        for j in range(n):
            total[j] += w * p * strengths[j] * math.log(ratio[j])
    return total


@within
def further_draw(count: float, further: float, weight: float) -> float:  # pragma: no cover - compiled
    """Return a (psi(a + c + m) - psi(a + c)) with c, m and a, without cancellation."""
    a, m = weight, further
    x, total = a + count, 0.0
    if m <= FAR and m == np.floor(m):
        for k in range(int(m)):
            total += a / (x + k)
        return total
    # Over a; both ends move on together until they are far.
    while x < FAR:
        total += a / (x + m) * (m / x)
        x += 1.0
    rx, ry = 1.0 / x, 1.0 / (x + m)
    ux, uy = rx * rx, ry * ry
    tail = ux * (1 / 12 - ux * (1 / 120 - ux * (1 / 252 - ux * (1 / 240 - ux / 132))))
    tail -= uy * (1 / 12 - uy * (1 / 120 - uy * (1 / 252 - uy * (1 / 240 - uy / 132))))
    return total + a * (math.log1p(m * rx) + 0.5 * m * rx * ry + tail)


@compiled
def further_draws(
    counts: Array, further: Array, weight: Array, drawn: Array
) -> None:  # pragma: no cover - compiled
    """Fill `drawn` with the further draws of each cell; arrays ``[cell]``."""
    for i in range(len(counts)):
        drawn[i] = further_draw(counts[i], further[i], weight[i])
