"""Different experts in windows of consecutive tokens."""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled


@compiled
def distinct_in_windows(
    choices: Array, order: Array, follows: Array, unit: Array, widths: Array, n_experts: Array, n_units: int
) -> tuple[Array, Array]:  # pragma: no cover - compiled
    """Sum the numbers of different experts over all windows of consecutive tokens, for all widths in one pass.

    An expert is in a window unless the window lies between two of its uses, before its first or after its last: an
    interval of g tokens holds g − w + 1 windows of w tokens. So one pass over the uses counts for every width.

    Parameters
    ----------
    choices : int16 array ``[token, layer, slot]``
        −1 where there is none.
    order : int array ``[row]``
        The token of each row, documents one after the other.
    follows : bool array ``[row]``
        Whether the row before is the token before.
    unit : int array ``[row]``
    widths : int array ``[width]``
    n_experts : int array ``[layer]``
    n_units : int

    Returns
    -------
    Sums of different experts ``[unit, layer, width]``, and numbers of windows. A token without a choice ends a run.
    """
    n_layers = choices.shape[1]
    sums = np.zeros((n_units, n_layers, len(widths)))
    windows = np.zeros((n_units, n_layers, len(widths)))
    most = 0
    for layer in range(n_layers):
        most = max(most, n_experts[layer])
    last = np.empty(most, np.int64)
    for layer in range(n_layers):
        last[:] = -1
        length = 0
        for at in range(len(order) + 1):
            known = at < len(order) and choices[order[at], layer, 0] >= 0
            if length and not (known and follows[at] and unit[at] == unit[at - 1]):
                of = unit[at - 1]
                used = 0
                for expert in range(n_experts[layer]):
                    if last[expert] < 0:
                        continue
                    used += 1
                    free = length - 1 - last[expert]
                    for w in range(len(widths)):
                        sums[of, layer, w] -= max(free - widths[w] + 1, 0)
                    last[expert] = -1
                for w in range(len(widths)):
                    whole = max(length - widths[w] + 1, 0)
                    windows[of, layer, w] += whole
                    sums[of, layer, w] += used * whole
                length = 0
            if not known:
                continue
            for slot in range(choices.shape[2]):
                expert = choices[order[at], layer, slot]
                if expert < 0:
                    continue
                free = length - 1 - last[expert]
                last[expert] = length
                # Between two uses in adjacent tokens no window fits.
                if free:
                    for w in range(len(widths)):
                        sums[unit[at], layer, w] -= max(free - widths[w] + 1, 0)
            length += 1
    return sums, windows
