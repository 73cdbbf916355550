"""Compiled loops over tokens with labels: strata, such as token ids, and labels inside them, such as domains.

Tokens of one stratum, group and labels are a meeting; meetings are the same in every layer. One pass over the tokens
counts what each meeting chose, and everything else goes over these cells: by stratum, first for its totals, then group
by group, so that sums without each group follow at once.
"""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, within


@compiled
def meeting_cells(
    choices: Array, row: Array, start: Array, n_choices: int, chosen: Array, count: Array, first: Array
) -> int:  # pragma: no cover - compiled
    """Count the choices of every meeting, and return how many cells there are.

    `choices` ``[row, slot]`` are `n_choices` or more where missing; `row` ``[entry]`` is ordered by meeting, each from
    its `start` on. Fills `chosen`, `count` ``[cell]`` and `first` ``[meeting + 1]``.
    """
    slots = choices.shape[1]
    own, met = np.zeros(n_choices, np.int32), np.empty(n_choices, np.int32)
    n = 0
    for meeting in range(len(start) - 1):
        first[meeting] = n
        seen = 0
        for entry in range(start[meeting], start[meeting + 1]):
            at = row[entry]
            if choices[at, 0] < n_choices:
                for slot in range(slots):
                    i = choices[at, slot]
                    if own[i] == 0:
                        met[seen] = i
                        seen += 1
                    own[i] += 1
        for k in range(seen):
            chosen[n] = met[k]
            count[n] = own[met[k]]
            own[met[k]] = 0
            n += 1
    first[len(start) - 1] = n
    return n


@within
def _term(count: int, listed: Array) -> float:  # pragma: no cover - compiled
    return listed[count] if count < len(listed) else count * np.log(count)


@compiled
def stratum_sums(
    chosen: Array, count: Array, first: Array, start: Array, group: Array, label: Array, n_labels: int, listed: Array,
    sums: Array, change: Array
) -> None:  # pragma: no cover - compiled  # fmt: skip
    """Sum c ln c of the cells less that of their margins: of strata, and of strata with labels.

    Meetings of a stratum begin at `start`, ordered by group. Adds to `sums` ``[2]`` and `change` ``[2, group]``, by how
    much they differ without each group.
    """
    n_choices = 0
    for cell in range(first[-1]):
        n_choices = max(n_choices, chosen[cell] + 1)
    both, own = np.zeros((n_labels, n_choices), np.int64), np.zeros((n_labels, n_choices), np.int64)
    every, own_every = np.zeros(n_choices, np.int64), np.zeros(n_choices, np.int64)
    of_label, own_label = np.zeros(n_labels, np.int64), np.zeros(n_labels, np.int64)
    met = np.empty(n_labels * n_choices, np.int64)
    for stratum in range(len(start) - 1):
        begin, end = start[stratum], start[stratum + 1]
        whole = 0
        for meeting in range(begin, end):
            at = label[meeting]
            for cell in range(first[meeting], first[meeting + 1]):
                both[at, chosen[cell]] += count[cell]
                every[chosen[cell]] += count[cell]
                of_label[at] += count[cell]
                whole += count[cell]
        if whole == 0:
            continue
        for i in range(n_choices):
            if every[i]:
                sums[0] += _term(every[i], listed)
                for at in range(n_labels):
                    sums[1] += _term(both[at, i], listed)
        sums[0] -= _term(whole, listed)
        for at in range(n_labels):
            sums[1] -= _term(of_label[at], listed)
        meeting = begin
        while meeting < end:
            here, seen, tokens = group[meeting], 0, 0
            while meeting < end and group[meeting] == here:
                at = label[meeting]
                for cell in range(first[meeting], first[meeting + 1]):
                    i = chosen[cell]
                    if own[at, i] == 0:
                        met[seen] = at * n_choices + i
                        seen += 1
                    own[at, i] += count[cell]
                    own_every[i] += count[cell]
                    own_label[at] += count[cell]
                    tokens += count[cell]
                meeting += 1
            for k in range(seen):
                at = met[k] // n_choices
                i = met[k] - at * n_choices
                total = both[at, i]
                change[1, here] += _term(total - own[at, i], listed) - _term(total, listed)
                own[at, i] = 0
                if own_every[i]:
                    total = every[i]
                    change[0, here] += _term(total - own_every[i], listed) - _term(total, listed)
                    own_every[i] = 0
            if tokens:
                change[0, here] -= _term(whole - tokens, listed) - _term(whole, listed)
                for at in range(n_labels):
                    if own_label[at]:
                        total = of_label[at]
                        change[1, here] -= _term(total - own_label[at], listed) - _term(total, listed)
                        own_label[at] = 0
        both[:] = 0
        every[:] = 0
        of_label[:] = 0


@compiled
def stratum_scores(
    chosen: Array, count: Array, first: Array, start: Array, group: Array, label: Array, slots: int, overall: Array,
    scores: Array
) -> tuple[float, float]:  # pragma: no cover - compiled  # fmt: skip
    """Add up scores of independence of label and choice inside strata; return the bias of their products and a trace.

    A token adds (1[label a] - p(a|z)) (1[chosen i] - p(i|z)) to `scores` ``[group, label, choice]``. `overall` has the
    share of tokens of each label, then the rate of each choice. The bias is what estimated margins add to the sum of
    products of different groups' scores, weighed by these and the number of tokens; see `clustered_scores`. The trace
    is the sum that this bias is a share of: |labels less their expectation|^2 |choices less theirs|^2 / tokens.
    """
    n_labels, n_choices = scores.shape[1], scores.shape[2]
    rate, share, pull = np.zeros(n_choices), np.zeros(n_labels), np.zeros(n_labels)
    own = np.zeros(n_choices)
    met, taken = np.empty(n_choices, np.int64), np.zeros(n_choices, np.bool_)
    bias, trace, n_known = 0.0, 0.0, 0.0
    for stratum in range(len(start) - 1):
        begin, end = start[stratum], start[stratum + 1]
        whole = 0.0
        rate[:] = 0.0
        share[:] = 0.0
        for meeting in range(begin, end):
            for cell in range(first[meeting], first[meeting + 1]):
                rate[chosen[cell]] += count[cell]
                share[label[meeting]] += count[cell]
                whole += count[cell]
        if whole == 0.0:
            continue
        whole /= slots
        n_known += whole
        spread = 0.0
        for i in range(n_choices):
            rate[i] /= whole
            spread += rate[i] * rate[i] / overall[n_labels + i]
        for at in range(n_labels):
            share[at] /= whole * slots
        s2, s3, s4, found = 0.0, 0.0, 0.0, 0.0
        meeting = begin
        while meeting < end:
            here, tokens, seen = group[meeting], 0.0, 0
            pull[:] = 0.0
            while meeting < end and group[meeting] == here:
                at = label[meeting]
                for cell in range(first[meeting], first[meeting + 1]):
                    i, n = chosen[cell], float(count[cell])
                    scores[here, at, i] += n
                    pull[at] += n / slots
                    tokens += n / slots
                    own[i] += n
                    if not taken[i]:
                        taken[i] = True
                        met[seen] = i
                        seen += 1
                meeting += 1
            if tokens == 0.0:
                continue
            rows = 0.0
            for at in range(n_labels):
                pull[at] -= tokens * share[at]
                rows += pull[at] * pull[at] / overall[at]
                if share[at] > 0.0:
                    for i in range(n_choices):
                        scores[here, at, i] -= pull[at] * rate[i]
            columns = tokens * tokens * spread
            for k in range(seen):
                i = met[k]
                columns += own[i] * (own[i] - 2.0 * tokens * rate[i]) / overall[n_labels + i]
                for at in range(n_labels):
                    scores[here, at, i] -= own[i] * share[at]
                own[i] = 0.0
                taken[i] = False
            w = tokens / whole
            s2 += w * w
            s3 += w * w * w
            s4 += w * w * w * w
            found += rows * columns / (tokens * tokens)
        trace += found
        below = (1.0 + s2) * (1.0 + s2) * s2 - 4.0 * (1.0 + s2) * s3 + 4.0 * s4
        if below > 0.0 and s2 < 1.0 - 1e-12:
            bias += (2.0 * s3 - s2 * s2 - (s2 * s2 * s2 - 4.0 * s2 * s3 + 4.0 * s4)) / below * found
    n_known = max(n_known, 1.0)
    return bias / n_known, trace / n_known


@compiled
def inclusion_sums(
    chosen: Array, count: Array, first: Array, start: Array, group: Array, label: Array, n_labels: int, members: Array,
    slots: int, listed: Array, sums: Array, change: Array
) -> None:  # pragma: no cover - compiled  # fmt: skip
    """Do as `stratum_sums` for every expert alone, whose choice is whether it is included.

    `members` ``[choice, place]`` are the experts of a choice. Adds to `sums` ``[2, expert]`` and `change`
    ``[2, group, expert]``.
    """
    n_experts = sums.shape[1]
    both, own = np.zeros((n_labels, n_experts), np.int64), np.zeros((n_labels, n_experts), np.int64)
    of_label, own_label = np.zeros(n_labels, np.int64), np.zeros(n_labels, np.int64)
    every, own_every = np.zeros(n_experts, np.int64), np.zeros(n_experts, np.int64)
    term, terms = np.zeros(n_experts), np.zeros((n_labels, n_experts))
    for stratum in range(len(start) - 1):
        begin, end = start[stratum], start[stratum + 1]
        whole = 0
        for meeting in range(begin, end):
            at = label[meeting]
            for cell in range(first[meeting], first[meeting + 1]):
                of_label[at] += count[cell]
                whole += count[cell]
                for place in range(members.shape[1]):
                    e = members[chosen[cell], place]
                    both[at, e] += count[cell]
                    every[e] += count[cell]
        if whole == 0:
            continue
        whole //= slots
        margin = _term(whole, listed)
        for e in range(n_experts):
            term[e] = _term(every[e], listed) + _term(whole - every[e], listed) - margin
            sums[0, e] += term[e]
        for at in range(n_labels):
            of_label[at] //= slots
            if of_label[at]:
                margin = _term(of_label[at], listed)
                for e in range(n_experts):
                    terms[at, e] = (
                        _term(both[at, e], listed) + _term(of_label[at] - both[at, e], listed) - margin
                    )
                    sums[1, e] += terms[at, e]
        meeting = begin
        while meeting < end:
            here, tokens = group[meeting], 0
            while meeting < end and group[meeting] == here:
                at = label[meeting]
                for cell in range(first[meeting], first[meeting + 1]):
                    own_label[at] += count[cell]
                    tokens += count[cell]
                    for place in range(members.shape[1]):
                        e = members[chosen[cell], place]
                        own[at, e] += count[cell]
                        own_every[e] += count[cell]
                meeting += 1
            if tokens == 0:
                continue
            left = whole - tokens // slots
            margin = _term(left, listed)
            for e in range(n_experts):
                rest = every[e] - own_every[e]
                change[0, here, e] += _term(rest, listed) + _term(left - rest, listed) - margin - term[e]
                own_every[e] = 0
            for at in range(n_labels):
                if own_label[at]:
                    left = of_label[at] - own_label[at] // slots
                    margin = _term(left, listed)
                    for e in range(n_experts):
                        rest = both[at, e] - own[at, e]
                        change[1, here, e] += (
                            _term(rest, listed) + _term(left - rest, listed) - margin - terms[at, e]
                        )
                        own[at, e] = 0
                    own_label[at] = 0
        both[:] = 0
        every[:] = 0
        of_label[:] = 0


@compiled
def add_cells(
    chosen: Array, count: Array, first: Array, place: Array, table: Array
) -> None:  # pragma: no cover - compiled
    """Add the cells of every meeting to `table` ``[place, choice]``, at its `place` ``[meeting]``."""
    for meeting in range(len(place)):
        at = place[meeting]
        for cell in range(first[meeting], first[meeting + 1]):
            table[at, chosen[cell]] += count[cell]
