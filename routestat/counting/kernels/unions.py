"""Experts that the tokens of a step need together."""

from routestat.counting.kernels.compiling import Array, within


@within
def gather(
    choices: Array,
    low: int,
    high: int,
    layer: int,
    base: int,
    stop: int,
    seen: Array,
    event: int,
    union: Array,
) -> tuple[int, int]:  # pragma: no cover - compiled
    """Write the different experts of some tokens at a layer, ascending.

    Parameters
    ----------
    choices : int16 array ``[token, layer, slot]``
        −1 where there is none.
    low, high : int
        Tokens.
    layer : int
    base, stop : int
        The layer's experts among those of all layers.
    seen : int array ``[expert of all layers]``
        The last event that needed each; set to `event`.
    event : int
        A new number.
    union : int array
        Begins with the experts on return.

    Returns
    -------
    Number of choices, and of different experts.
    """
    n = m = 0
    ascending = True
    for t in range(low, high):
        for slot in range(choices.shape[2]):
            e = choices[t, layer, slot]
            if e < 0:
                continue
            n += 1
            i = base + e
            if seen[i] != event:
                seen[i] = event
                if m > 0 and union[m - 1] > i:
                    ascending = False
                union[m] = i
                m += 1
    if ascending:
        return n, m
    if m * m <= 4 * (stop - base):
        for j in range(1, m):
            i, k = union[j], j
            while k > 0 and union[k - 1] > i:
                union[k] = union[k - 1]
                k -= 1
            union[k] = i
    else:
        m = 0
        for i in range(base, stop):
            if seen[i] == event:
                union[m] = i
                m += 1
    return n, m
