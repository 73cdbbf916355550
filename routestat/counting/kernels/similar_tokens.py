"""Compiled loops over tokens that were routed alike so far."""

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, inlined, within
from routestat.counting.kernels.symmetric import exponential


@compiled
def average_same_id(
    rows: Array,
    packed: Array,
    slots: Array,
    experts: Array,
    token: Array,
    earlier: Array,
    follows: Array,
    order: Array,
    place: Array,
    before: Array,
    most: Array,
    settings: Array,
    prior: Array,
    out: Array,
) -> None:  # pragma: no cover - compiled
    """Combine a prior with the choices of tokens of the same id, weighted by how alike they were routed so far.

    ``packed[row, slot]`` are the experts of all routers, −1 missing: from ``slots[l]`` to ``slots[l + 1]`` those of
    router l, of which ``prior[i]`` and ``out[i]`` have ``experts[l]`` to ``experts[l + 1]``. `order` are the rows that
    are used, sorted by id and then by the ids before, ``earlier[row, lag]``; ``place[row]`` is where a row is, or
    would be, among them; ``before[row]`` is the latest row of its document with the same id. ``most`` are how many
    neighbours on either side are used, and how many earlier rows of the document.

    `settings`: log weight for each id before that is equal, for all layers of the token before, for a row of the
    document, and what that loses with each row in between; slope by the overlap of a layer, the share that is kept
    at the next layer, the overlap that counts as 0; the weight of the prior.
    """
    limit = 2 * most[0] + most[1]
    found, base = np.empty(limit, np.int64), np.empty(limit)
    held, work = np.empty((packed.shape[1], limit), np.int16), np.empty((2, limit))
    weight, alike = np.empty(limit), np.empty(limit)
    chosen = np.zeros(np.max(experts[1:] - experts[:-1]))
    for i in range(len(rows)):
        t = rows[i]
        n = _same_id(t, token, order, place, most[0], found)
        near = n
        s = before[t]
        while s >= 0 and n < near + most[1]:
            found[n] = s
            n += 1
            s = before[s]
        for x in range(n):
            s = found[x]
            base[x] = 0.0 if x < near else settings[2] - settings[3] * (x - near)
            for lag in range(earlier.shape[1]):
                if earlier[s, lag] != earlier[t, lag]:
                    break
                base[x] += settings[0]
            if follows[s] and follows[t]:
                base[x] += settings[1] * _overlap(packed[s - 1], packed[t - 1], slots)
            for slot in range(packed.shape[1]):
                held[slot, x] = packed[s, slot]
        _average(
            packed[t], held, n, base, slots, experts, settings, weight, alike, work, chosen, prior[i], out[i]
        )


@inlined
def _same_id(
    t: int, token: Array, order: Array, place: Array, most: int, found: Array
) -> int:  # pragma: no cover - compiled
    """Find the nearest rows on either side with the same id; the row itself is not among them."""
    n, near = 0, place[t] - 1
    while near >= 0 and n < most and token[order[near]] == token[t]:
        found[n] = order[near]
        n, near = n + 1, near - 1
    after, near = n, place[t]
    while near < len(order) and n < after + most and token[order[near]] == token[t]:
        found[n] = order[near]
        n, near = n + 1, near + 1
    return n


@inlined
def _overlap(one: Array, other: Array, slots: Array) -> float:  # pragma: no cover - compiled
    """Return the mean share of experts that two rows have in common, over all routers."""
    total = 0.0
    for layer in range(len(slots) - 1):
        common = 0
        for a in range(slots[layer], slots[layer + 1]):
            for b in range(slots[layer], slots[layer + 1]):
                common += one[a] == other[b] and one[a] >= 0
        total += common / (slots[layer + 1] - slots[layer])
    return total / (len(slots) - 1)


@within
def _average(
    own: Array,
    held: Array,
    n: int,
    base: Array,
    slots: Array,
    experts: Array,
    settings: Array,
    weight: Array,
    alike: Array,
    work: Array,
    chosen: Array,
    prior: Array,
    out: Array,
) -> None:  # pragma: no cover - compiled
    """Write the averages of all layers of a row; `alike` collects how similar the candidates are so far."""
    slope, kept, neutral, strength = settings[4], settings[5], settings[6], settings[7]
    alike[:n] = 0.0
    for layer in range(len(slots) - 1):
        first, last, offset = slots[layer], slots[layer + 1], experts[layer]
        for x in range(n):
            weight[x] = base[x] + alike[x]
        exponential(weight[:n], work[:, :n])
        total = strength
        for j in range(offset, experts[layer + 1]):
            out[j] = strength * prior[j]
        for x in range(n):
            if held[first, x] >= 0:
                total += weight[x]
                for slot in range(first, last):
                    out[offset + held[slot, x]] += weight[x]
        for j in range(offset, experts[layer + 1]):
            out[j] /= total
        for x in range(n):
            alike[x] *= kept
        if own[first] < 0:
            continue
        for slot in range(first, last):
            chosen[own[slot]] = slope / (last - first)
        for x in range(n):
            if held[first, x] >= 0:
                alike[x] -= slope * neutral
                for slot in range(first, last):
                    alike[x] += chosen[held[slot, x]]
        for slot in range(first, last):
            chosen[own[slot]] = 0.0


@compiled
def correct_by_history(
    rows: Array,
    needed: Array,
    packed: Array,
    slots: Array,
    experts: Array,
    follows: Array,
    candidates: Array,
    successive: Array,
    listed: Array,
    bounds: Array,
    errors: Array,
    most: int,
    settings: Array,
    prior: Array,
    out: Array,
) -> None:  # pragma: no cover - compiled
    """Correct a prior by the errors that it makes for rows with a similar history.

    `rows` are consecutive rows of one document, ``prior[i, slot]`` the predictions of each; ``out[i]`` is written where
    ``needed[i]``. Candidates are the rows `candidates`, with ``errors[c, slot]`` = choice − prior, and up to `most`
    earlier ones among `rows`. ``successive[c]``: candidate c − 1 is the token before. ``listed`` holds, from
    ``bounds[e]`` to ``bounds[e + 1]``, the candidates that chose expert e, numbered over all routers. Choices are as
    in `average_same_id`. `settings`: slope γ, weight p of the token before, weight c of the prior, decay per layer,
    the similarity of log weight 0 of layers and of the token before, and the least log weight.
    """
    gamma, share, strength, decay = settings[0], settings[1], settings[2], settings[3]
    neutral, least = settings[4] + settings[5] * share, settings[6]
    n_layers, many, n_all = len(slots) - 1, len(candidates), len(candidates) + len(rows)
    common, alike = np.zeros(n_all, np.uint8), np.empty(n_all, np.float32)
    whole, earlier, found = (
        np.zeros(n_all, np.float32),
        np.zeros(n_all, np.float32),
        np.empty(n_all, np.int64),
    )
    chosen, heavy = np.zeros(np.max(experts[1:] - experts[:-1]), np.uint8), np.empty(n_all)
    for i in range(len(rows)):
        t, continued = rows[i], i > 0 and follows[rows[i]]
        if not (needed[i] or (i + 1 < len(rows) and needed[i + 1])):
            continue
        # What the token before had in common with the one before each candidate.
        begin, end = max(0, i - most), many + i
        _move(whole, earlier, successive, follows, rows, begin, i, continued, np.float32(share / n_layers))
        whole[:] = 0.0
        alike[:] = 0.0
        scale = 0.0
        for layer in range(n_layers):
            first, last, offset, stop = slots[layer], slots[layer + 1], experts[layer], experts[layer + 1]
            if needed[i]:
                out[i, offset:stop] = prior[i, offset:stop]
                if layer > 0:
                    least_alike = np.float32(neutral + least / gamma)
                    n = _select(
                        alike, earlier, np.float32(1.0 / scale), many, many + begin, end, least_alike, found
                    )
                    total = strength
                    for x in range(n):
                        c = found[x]
                        s = candidates[c] if c < many else rows[c - many]
                        heavy[x] = 0.0
                        if packed[s, first] >= 0:
                            heavy[x] = np.exp(gamma * (alike[c] / scale + earlier[c] - neutral))
                            total += heavy[x]
                    for x in range(n):
                        c, weight = found[x], np.float32(heavy[x] / total)
                        if weight == 0.0:
                            continue
                        if c < many:
                            for j in range(offset, stop):
                                out[i, j] += weight * errors[c, j]
                        else:
                            for j in range(offset, stop):
                                out[i, j] -= weight * prior[c - many, j]
                            for slot in range(first, last):
                                out[i, offset + packed[rows[c - many], slot]] += weight
            if packed[t, first] >= 0:
                for slot in range(first, last):
                    e = offset + packed[t, slot]
                    chosen[packed[t, slot]] = 1
                    for x in range(bounds[e], bounds[e + 1]):
                        common[listed[x]] += 1
                for b in range(begin, i):
                    s = rows[b]
                    if packed[s, first] >= 0:
                        for slot in range(first, last):
                            common[many + b] += chosen[packed[s, slot]]
                for slot in range(first, last):
                    chosen[packed[t, slot]] = 0
            scale = decay * scale + 1.0
            _accumulate(common, np.float32(1.0 / (last - first)), np.float32(decay), alike, whole)


@within
def _accumulate(
    common: Array, unit: float, decay: float, alike: Array, whole: Array
) -> None:  # pragma: no cover - compiled
    for c in range(len(common)):
        share = np.float32(common[c]) * unit
        alike[c] = decay * alike[c] + share
        whole[c] += share
        common[c] = 0


@within
def _move(
    whole: Array,
    earlier: Array,
    successive: Array,
    follows: Array,
    rows: Array,
    begin: int,
    i: int,
    continued: bool,
    factor: float,
) -> None:  # pragma: no cover - compiled
    """Write to `earlier` what the rows before had in common."""
    many = len(successive)
    if not continued:
        earlier[:] = 0.0
        return
    earlier[0] = 0.0
    for c in range(1, many):
        earlier[c] = whole[c - 1] * factor if successive[c] else np.float32(0.0)
    for b in range(begin, i):
        earlier[many + b] = whole[many + b - 1] * factor if b > 0 and follows[rows[b]] else np.float32(0.0)


@within
def _select(
    alike: Array, earlier: Array, scale: float, many: int, begin: int, end: int, least: float, found: Array
) -> int:  # pragma: no cover - compiled
    """Collect the candidates of at least a similarity: those before `many`, and from `begin` to `end`."""
    n = 0
    for part in range(2):
        start, stop = (0, many) if part == 0 else (begin, end)
        for block in range(start, stop, 64):
            last, near = min(block + 64, stop), 0
            for c in range(block, last):
                near += alike[c] * scale + earlier[c] > least
            if near:
                for c in range(block, last):
                    if alike[c] * scale + earlier[c] > least:
                        found[n] = c
                        n += 1
    return n
