"""Compiled loops over the experts that tokens choose in a few consecutive layers, one expert of each."""

from routestat.counting.kernels.compiling import Array, compiled, within


@within
def prefixes(
    choices: Array, row: int, sizes: Array, keys: Array, more: Array
) -> int:  # pragma: no cover - compiled
    """Write the numbers of the windows of a row over all layers but the last to `keys`, and return how many."""
    n = 1
    keys[0] = 0
    for place in range(choices.shape[1] - 1):
        found = 0
        for at in range(n):
            start = keys[at] * sizes[place]
            for slot in range(choices.shape[2]):
                expert = choices[row, place, slot]
                if expert >= 0:
                    more[found] = start + expert
                    found += 1
        n = found
        for at in range(n):
            keys[at] = more[at]
    return n


@compiled
def count_windows(
    choices: Array, sizes: Array, rows: Array, buffers: Array, table: Array
) -> None:  # pragma: no cover - compiled
    """Count windows of experts: ``table[key]`` over one expert per layer, the first layer the slowest.

    `choices` are ``[row, layer, slot]``, −1 where a layer has fewer slots; `sizes` the experts of each layer; `rows`
    those to count; `buffers` ``[2, window]`` have a place for all windows over all layers but the last. A token counts
    in one cell for each choice of one of its experts per layer.
    """
    last = choices.shape[1] - 1
    size, slots = sizes[last], choices.shape[2]
    for row in rows:
        n = prefixes(choices, row, sizes, buffers[0], buffers[1])
        for at in range(n):
            start = buffers[0, at] * size
            for slot in range(slots):
                expert = choices[row, last, slot]
                if expert >= 0:
                    table[start + expert] += 1


@compiled
def sum_windows(
    choices: Array, sizes: Array, rows: Array, buffers: Array, values: Array, group: Array, out: Array
) -> None:  # pragma: no cover - compiled
    """Add to ``out[group]`` the mean of ``values[key]`` over the windows of every row; arguments as above."""
    last = choices.shape[1] - 1
    size, slots = sizes[last], choices.shape[2]
    for row in rows:
        n = prefixes(choices, row, sizes, buffers[0], buffers[1])
        total, windows = 0.0, 0
        for at in range(n):
            start = buffers[0, at] * size
            for slot in range(slots):
                expert = choices[row, last, slot]
                if expert >= 0:
                    total += values[start + expert]
                    windows += 1
        if windows:
            out[group[row]] += total / windows


@compiled
def count_choices(
    choices: Array, rows: Array, layers: Array, table: Array
) -> None:  # pragma: no cover - compiled
    """Count the experts that these rows choose in these layers: ``table[layer, expert]``."""
    for row in rows:
        for layer in layers:
            for slot in range(choices.shape[2]):
                expert = choices[row, layer, slot]
                if expert >= 0:
                    table[layer, expert] += 1


@compiled
def rows_with(
    choices: Array, rows: Array, gone: Array, layer: int, expert: int, out: Array
) -> int:  # pragma: no cover - compiled
    """Write those of the rows that are not gone and choose an expert in a layer, and return how many."""
    n = 0
    for row in rows:
        if not gone[row]:
            for slot in range(choices.shape[2]):
                if choices[row, layer, slot] == expert:
                    out[n] = row
                    n += 1
                    break
    return n
