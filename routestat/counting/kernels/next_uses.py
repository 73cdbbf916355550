"""When each expert is needed again, found backwards; compiled on first use."""

from routestat.counting.kernels.compiling import Array, compiled


@compiled
def look_back(
    choices: Array,
    start: Array,
    offset: Array,
    order: Array,
    low: int,
    high: int,
    next_use: Array,
    out: Array,
) -> None:  # pragma: no cover - compiled
    """Go backwards through the steps at the places `low` to `high` of an order of steps.

    Parameters
    ----------
    choices : int16 array ``[token, layer, slot]``
        −1 where there is none.
    start : int array ``[step + 1]``
        The first token of each step.
    offset : int array ``[layer + 1]``
        The first of a layer's experts among those of all layers.
    order : int array ``[place]``
        Steps.
    next_use : int32 array ``[expert of all layers]``
        The place at which each expert is needed next, −1 if never: on entry after these steps, on return from `low` on.
    out : int32 array ``[token of these steps, layer, slot]``
        Where the expert of each choice is needed next after its own step; not written if empty.
    """
    n_layers, n_slots = choices.shape[1], choices.shape[2]
    n = 0
    for p in range(low, high):
        n += start[order[p] + 1] - start[order[p]]
    for p in range(high - 1, low - 1, -1):
        a, b = start[order[p]], start[order[p] + 1]
        n -= b - a
        if len(out):
            for t in range(a, b):
                for l in range(n_layers):
                    for s in range(n_slots):
                        e = choices[t, l, s]
                        if e >= 0:
                            out[n + t - a, l, s] = next_use[offset[l] + e]
        for t in range(a, b):
            for l in range(n_layers):
                for s in range(n_slots):
                    e = choices[t, l, s]
                    if e >= 0:
                        next_use[offset[l] + e] = p
