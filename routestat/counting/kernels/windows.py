"""Compiled search for frequent windows: choices of consecutive layers that many tokens of one part of the rows share.

A window is extended by one layer at a time, with the list of the rows that took it: a window with too few rows has no
extension with enough. Windows of later layers are searched first, so that the counts of all shorter windows inside a
window are known when it is tested.
"""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, inlined

# Columns of the numbers of a window.
TOKENS, EXPECTED, SQUARE, VARIANCE, RATIO_SQUARE = range(5)
# Columns of its whole numbers, before its choices.
START, LENGTH, DOCUMENTS, GROUPS, CHOOSING_TOKENS = range(5)
WORDS = 5


@inlined
def _extend(
    choices: Array,
    rows: Array,
    split: int,
    document: Array,
    size: int,
    least: Array,
    seen: Array,
    found: Array,
    out: Array,
) -> int:  # pragma: no cover - compiled
    """Sort the rows of a window by their choice in one layer ``[row, slot]``, those of frequent choices only.

    Fills `found` ``[choice, (choice, first, end)]`` with places in `out`; `seen` ``[4, choice]`` is for counting.
    """
    seen[:, :size] = 0
    chosen = 0
    while chosen < len(rows) and rows[chosen] < split:
        row = rows[chosen]
        of = document[row] + 1
        for slot in range(choices.shape[1]):
            choice = choices[row, slot]
            if choice < size:
                seen[1, choice] += 1
                if seen[3, choice] != of:
                    seen[3, choice] = of
                    seen[2, choice] += 1
        chosen += 1
    for choice in range(size):
        seen[0, choice] = seen[1, choice]
    for i in range(chosen, len(rows)):
        row = rows[i]
        for slot in range(choices.shape[1]):
            choice = choices[row, slot]
            if choice < size:
                seen[0, choice] += 1
    n = to = 0
    for choice in range(size):
        if seen[1, choice] >= least[0] and seen[2, choice] >= least[1]:
            found[n, 0], found[n, 1], found[n, 2] = choice, to, to + seen[0, choice]
            seen[0, choice] = to
            to = found[n, 2]
            n += 1
        else:
            seen[0, choice] = -1
    if n:
        for i in range(len(rows)):
            row = rows[i]
            for slot in range(choices.shape[1]):
                choice = choices[row, slot]
                if choice < size and seen[0, choice] >= 0:
                    out[seen[0, choice]] = row
                    seen[0, choice] += 1
    return n


@compiled
def frequent_windows(
    start: int,
    choices: Array,
    sizes: Array,
    orders: Array,
    split: int,
    group: Array,
    document: Array,
    tokens: Array,
    least: Array,
    most_work: int,
    singles: Array,
    pairs: Array,
    triples: Array,
    pair_of: Array,
    triple_of: Array,
    used: Array,
    whole: Array,
    real: Array,
) -> int:  # pragma: no cover - compiled
    """Find the frequent windows from one layer on, and sum what their tests need.

    `choices` ``[layer, row, slot]`` are as large as `sizes` ``[layer]`` where missing. Rows before `split` choose the
    windows: those with `least` (tokens, documents) among them; the other rows test them, and have a `group` each, with
    `tokens` ``[group]``. `orders` ``[layer]`` are of the chain. `singles` ``[layer, choice, group]``,
    `pairs` and `triples` ``[place, group]`` hold the testing tokens of shorter windows, at the places of `pair_of`
    ``[layer, choice, choice]`` and `triple_of` ``[place of a pair, choice]``, and `used` how many pairs, triples,
    windows and steps there are. `whole` and `real` ``[window, column]`` are the windows found.

    Returns 0, or 1 where one of the arrays is too small or `most_work` steps are not enough.
    """
    n_layers, n_rows, slots = choices.shape
    longest = min(whole.shape[1] - WORDS, n_layers - start)
    groups, widest = len(tokens), sizes.max()
    n_tokens = tokens.sum()
    seen = np.zeros((4, widest), np.int64)
    found = np.zeros((longest, widest, 3), np.int64)
    number, at = np.zeros(longest, np.int64), np.zeros(longest, np.int64)
    word = np.zeros(longest, np.int64)
    # Of each prefix: its tokens by group, the linearised logarithm of its expectation, and so on.
    own = np.zeros((longest, groups))
    linear = np.zeros((longest, groups))
    total, log_expected, inverse = np.zeros(longest), np.zeros(longest), np.zeros(longest)
    tested = np.zeros(longest, np.bool_)
    buffers = [np.arange(n_rows).astype(np.int32), np.empty(n_rows * slots, np.int32)]
    number[0] = _extend(
        choices[start], buffers[0], split, document, sizes[start], least, seen, found[0], buffers[1]
    )
    used[3] += n_rows * slots
    depth = 0
    while depth >= 0:
        if at[depth] == number[depth]:
            depth -= 1
            continue
        here = at[depth]
        at[depth] += 1
        choice, first, end = found[depth, here]
        rows = buffers[depth + 1][first:end]
        word[depth] = choice
        used[3] += len(rows) * slots + groups
        if used[3] > most_work:
            return 1
        mine = own[depth]
        mine[:] = 0.0
        chosen = documents = 0
        while chosen < len(rows) and rows[chosen] < split:
            chosen += 1
        i = chosen
        while i < len(rows):
            # The rows of one document lie together.
            of, begun = document[rows[i]], i
            while i < len(rows) and document[rows[i]] == of:
                i += 1
            mine[group[rows[begun]]] += i - begun
            documents += 1
        n = mine.sum()
        total[depth] = n
        layer = start + depth
        if depth == 0:
            singles[layer, choice] = mine
        elif depth == 1:
            if used[0] == len(pairs):
                return 1
            pairs[used[0]] = mine
            pair_of[start, word[0], choice] = used[0]
            used[0] += 1
        elif depth == 2 and orders[layer] == 2:
            if used[1] == len(triples):
                return 1
            triples[used[1]] = mine
            triple_of[pair_of[start, word[0], word[1]], choice] = used[1]
            used[1] += 1
        if n == 0.0:
            # No longer window of this beginning has tokens to test it.
            continue
        order = orders[layer]
        if depth == 0:
            linear[0] = mine / n
            log_expected[0], inverse[0], tested[0] = np.log(n), 1.0 / n, False
        else:
            if order >= depth:
                above, below = mine, own[depth - 1]
            elif order == 0:
                above, below = singles[layer, choice], tokens
            elif order == 1:
                above = pairs[pair_of[layer - 1, word[depth - 1], choice]]
                below = singles[layer - 1, word[depth - 1]]
            else:
                pair = pair_of[layer - 2, word[depth - 2], word[depth - 1]]
                above, below = triples[triple_of[pair, choice]], pairs[pair]
            n_above, n_below = above.sum(), below.sum()
            linear[depth] = linear[depth - 1] + above / n_above - below / n_below
            log_expected[depth] = log_expected[depth - 1] + np.log(n_above / n_below)
            inverse[depth] = inverse[depth - 1] + 1.0 / n_above - 1.0 / n_below
            tested[depth] = tested[depth - 1] or order < depth
        if depth >= 2 and tested[depth]:
            if used[2] == len(whole):
                return 1
            expected = np.exp(log_expected[depth])
            square = ratio_square = 0.0
            with_it = 0
            for g in range(groups):
                score = mine[g] - expected * linear[depth, g] - tokens[g] / n_tokens * (n - expected)
                square += score * score
                score = mine[g] / n - linear[depth, g]
                ratio_square += score * score
                with_it += mine[g] > 0.0
            place = used[2]
            used[2] += 1
            real[place, TOKENS], real[place, EXPECTED] = n, expected
            real[place, SQUARE], real[place, RATIO_SQUARE] = square, ratio_square
            real[place, VARIANCE] = max(n, expected) * max(0.0, 1.0 - expected * inverse[depth])
            whole[place, START], whole[place, LENGTH] = start, depth + 1
            whole[place, DOCUMENTS], whole[place, GROUPS] = documents, with_it
            whole[place, CHOOSING_TOKENS] = chosen
            whole[place, WORDS:] = -1
            whole[place, WORDS : WORDS + depth + 1] = word[: depth + 1]
        if depth + 1 < longest:
            while len(buffers) <= depth + 2:
                buffers.append(np.empty(0, np.int32))
            if len(buffers[depth + 2]) < len(rows) * slots:
                buffers[depth + 2] = np.empty(len(rows) * slots, np.int32)
            number[depth + 1] = _extend(
                choices[layer + 1],
                rows,
                split,
                document,
                sizes[layer + 1],
                least,
                seen,
                found[depth + 1],
                buffers[depth + 2],
            )
            at[depth + 1] = 0
            depth += 1
    return 0


@compiled
def on_windows(
    choices: Array, child: Array, roots: Array, ends: Array
) -> Array:  # pragma: no cover - compiled
    """Return which rows of `choices` ``[layer, row, slot]`` take one of the windows of a tree, ``[row]``.

    `child` ``[node, choice]`` is the next node, 0 for none; `roots` ``[layer]`` the node that windows from there on
    begin at, 0 for none; `ends` ``[node]`` whether a window ends there.
    """
    n_layers, n_rows, slots = choices.shape
    out = np.zeros(n_rows, np.bool_)
    node, slot = np.zeros(n_layers + 1, np.int64), np.zeros(n_layers + 1, np.int64)
    for start in range(n_layers):
        if roots[start] == 0:
            continue
        for row in range(n_rows):
            depth = 0
            node[0], slot[0] = roots[start], 0
            while depth >= 0 and not out[row]:
                if slot[depth] == slots or start + depth == n_layers:
                    depth -= 1
                    continue
                choice = choices[start + depth, row, slot[depth]]
                slot[depth] += 1
                if choice >= child.shape[1] or child[node[depth], choice] == 0:
                    continue
                to = child[node[depth], choice]
                if ends[to]:
                    out[row] = True
                depth += 1
                node[depth], slot[depth] = to, 0
    return out
