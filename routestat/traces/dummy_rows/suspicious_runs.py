"""Runs of equal rows that are longer than a model's own repetitions explain.

Models repeat themselves: routers of few states, a text of line breaks, a looping generation. So a trace is compared
with itself, and only runs beyond its own repetitions are found:

- *edges*: runs at the starts or ends of documents, against runs inside them. That this many are this long has a
  probability below `EDGES` if starts and ends are like the rest, and at most a tenth of them is expected.
- *values*: one row that occurs in runs at the edges of several documents and hardly elsewhere, as padding does. Then
  its shorter runs there are dummy rows, too.
- *gap*: runs that are longer than all others by more than a heavy tail explains. If lengths are Pareto, the logarithms
  of the ratios of successive lengths, times their rank, are exponential and independent (Rényi 1953), so that the gap
  above the longest of the others has a known distribution given the gaps below it.

Rows drawn from a handful of choices are found by `routestat.traces.dummy_rows.few_choices`.

Known token ids help: inside a document a run over one token is no evidence, one over different tokens is strong.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from routestat.traces.dummy_rows.few_choices import same_in_every_layer
from routestat.traces.dummy_rows.row_runs import LEAST_ALIKE_LAYERS, LONG, RowRuns
from routestat.traces.row_hash import keys_of

#: Kinds of dummy rows.
ZEROS, EDGE, STUCK, PHASE, ALIKE = "zeros", "padding", "stuck", "phase", "alike"
# Significance levels of runs at edges, one value at edges, and a gap; the first run of a trace is one
# place, not many.
EDGES, VALUES, GAP, OPENING = 1e-5, 1e-6, 2e-4, 1e-2
# Documents that must share runs at edges: their number, and their share of all, for any rows and for one value.
LEAST_DOCUMENTS, SHARE, SHARE_OF_ONE = 3, 0.25, 0.05
# The share where runs end documents and token ids are unknown: generations that loop over one token end like that.
SHARE_OF_ENDS = 0.5
# Least rows of a run at an edge, and least runs inside a document for the comparison.
LEAST_EDGE, RUNS_INSIDE = 3, 4
# Share of runs over one known token at an edge that have one length, of at most this many rows, if they are a template;
# padding has many lengths.
OF_ONE_LENGTH, MOST_TEMPLATE = 0.9, 64
# Largest share of runs at edges that may be expected.
MOST_OWN = 0.1
# Least factor of a gap; number of gaps below it that are used; and the prior, as a number of
# gaps of a Pareto tail with this exponent.
FACTOR, GAPS, PRIOR_GAPS, PRIOR_EXPONENT = 3.0, 40, 20, 5.0
# The exponent where none of so many rows repeats the row before it.
NEVER_REPEATS, NEVER_EXPONENT = 500, 8.0
# Where token ids are unknown and rows repeat, a shorter run may be a rule across a page.
RULE = 100
# Least share of all rows that must be measurements, for comparison.
LEAST_OWN = 0.02


def suspicious(found: RowRuns) -> NDArray[np.str_]:
    """Return the kind of each run ``[run]`` of dummy rows; empty for all other runs.

    Parameters
    ----------
    found : RowRuns
    """
    search = _Search(found)
    if len(found.runs):
        search.look()
    return search.kind


class _Search:
    """The search for the kinds of the runs of one trace; runs with a kind are no longer used for comparison."""

    def __init__(self, found: RowRuns) -> None:
        self.found, self.runs = found, found.runs
        self.kind = np.full(len(found.runs), "", "<U8")
        self.inside = ~self.runs["starts"] & ~self.runs["ends"]
        self.once = _once(self.runs)
        self.never = not found.lengths[2:].any() and found.lengths.sum() >= NEVER_REPEATS
        self.unknown = bool((self.runs["head"] < 0).all())

    def look(self) -> None:
        for _ in range(2):
            # Edges are compared with runs inside documents: a second time without those that are stuck.
            for side in ("starts", "ends"):
                for phase in (0, 1):
                    # A document begins once, in any phase; the prompt may be padded before the answer.
                    here = self.runs[side] & (self.runs["phase"] == phase)
                    here &= self.runs["opens"] if side == "starts" else True
                    self._mark(self._edges(here, side), EDGE)
                    self._mark(self._values(here, side), EDGE)
                    self._mark(self._tokens(here, side), EDGE)
            self._mark(self._blank_edges(), EDGE)
            self._mark(self._gap(), STUCK)
        self._mark(same_in_every_layer(self.found), ALIKE)
        rows = int(self.found.n_phase.sum())
        if rows - self.runs["n"][self.kind != ""].sum() < LEAST_OWN * rows:
            # Too few rows are left for comparison: a collapsed router looks the same.
            self.kind[:] = ""
        self.kind[(self.kind != "") & self.runs["blank"]] = ZEROS

    def _mark(self, marked: NDArray[np.bool_], kind: str) -> None:
        self.kind[marked & (self.kind == "")] = kind

    def _edges(self, here: NDArray[np.bool_], side: str) -> NDArray[np.bool_]:
        """Return the runs at one edge that are longer than runs inside documents explain."""
        nothing = np.zeros(len(here), bool)
        n = int(here.sum())
        loops = side == "ends" and self.unknown and not self.never
        least = max(LEAST_DOCUMENTS, int(np.ceil((SHARE_OF_ENDS if loops else SHARE) * n)))
        worth = self.runs["x"] * (here & ~self._of_the_text())
        # A few rows at every edge are a template, or line breaks.
        if np.count_nonzero(worth >= LONG) < least:
            return nothing
        lengths, times = self._lengths_inside()
        # Documents of few runs cut the runs inside them short.
        if times.sum() < RUNS_INSIDE * np.count_nonzero(self.runs["opens"]):
            return nothing
        for length in np.unique(worth[worth >= LEAST_EDGE])[:1000]:
            observed = int(np.count_nonzero(self.once & (worth >= length)))
            if observed < least:
                break
            expected = n * _chance(lengths, times, int(length))
            if expected <= MOST_OWN * observed and special.gammainc(observed, expected) < EDGES:
                return np.asarray(worth >= length)
        return nothing

    def _of_the_text(self) -> NDArray[np.bool_]:
        """Return runs of values that also occur in long runs inside documents, such as indents and rules."""
        values, times = np.unique(
            self.runs["key"][self.inside & (self.runs["n"] >= LONG)], return_counts=True
        )
        return np.isin(self.runs["key"], values[times >= LEAST_DOCUMENTS])

    def _lengths_inside(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the lengths of the runs that are at no edge, and the number of each."""
        own = self.runs["x"][self.inside & (self.kind == "")]
        lengths, times = np.unique(own, return_counts=True)
        return np.append(np.arange(1, LONG), lengths), np.append(self.found.lengths[1:], times)

    def _values(self, here: NDArray[np.bool_], side: str) -> NDArray[np.bool_]:
        """Return runs at one edge whose value occurs at edges and hardly elsewhere."""
        runs, marked, n = self.runs, np.zeros(len(here), bool), int(here.sum())
        long = here & (runs["n"] >= LONG // 2)
        if np.count_nonzero(long) < LEAST_DOCUMENTS:
            return marked
        beside = runs["prev" if side == "ends" else "next"]
        values, times = np.unique(runs["key"][long], return_counts=True)
        # The sample of short runs stands for all of them.
        whole = float(self.found.lengths.sum()) / max(len(self.found.short_keys), 1)
        own = self.inside & (self.kind == "")
        n_runs = float(self.found.lengths.sum() + own.sum())
        rows = float(np.arange(LONG) @ self.found.lengths) + float(runs["n"][own].sum())
        for value in values[times >= LEAST_DOCUMENTS]:
            of_value = here & (runs["key"] == value)
            several = len(np.unique(beside[of_value & long]))
            very_long = len(np.unique(beside[of_value & (runs["n"] >= LONG)]))
            enough = very_long >= max(LEAST_DOCUMENTS, SHARE_OF_ONE * n)
            if several < LEAST_DOCUMENTS or not enough or self._is_template(of_value & long):
                continue
            elsewhere = whole * np.count_nonzero(self.found.short_keys == value)
            elsewhere += runs["n"][own & (runs["key"] == value)].sum()
            # Rows of one run occur together: what is rare among runs is rarer among rows.
            of_runs = whole * np.count_nonzero(self.found.short_keys == value)
            of_runs += np.count_nonzero(own & (runs["key"] == value))
            share = max((elsewhere + 1.0) / (rows + 1.0), (of_runs + 1.0) / (n_runs + 1.0))
            expected = n * share
            if self._over_one_token(of_value)[of_value & long].all():
                # Repeated line breaks are routed differently from those inside the text; their token identifies them.
                token = runs["tail" if side == "ends" else "head"][of_value & long][0]
                expected = max(expected, n * self._token_elsewhere(int(token), of_value))
            if expected <= MOST_OWN * several and special.gammainc(several, expected) < VALUES:
                marked |= of_value
        return marked

    def _is_template(self, runs: NDArray[np.bool_]) -> bool:
        """Return whether runs over one known token have one length; padding has many."""
        lengths = self.runs["n"][runs]
        if not len(lengths) or not self._over_one_token(runs)[runs].all():
            return False
        # A row of the text may continue the template.
        usual = np.median(lengths)
        alike = np.abs(lengths - usual) <= max(1.0, usual / 10.0)
        return bool(usual <= MOST_TEMPLATE and np.count_nonzero(alike) >= OF_ONE_LENGTH * len(lengths))

    def _over_one_token(self, runs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which runs are over one known token, except for a row or two of the text."""
        return np.asarray(
            runs
            & (self.runs["head"] >= 0)
            & (self.runs["x"] * LONG // 2 <= np.maximum(self.runs["n"], LONG // 2))
        )

    def _token_elsewhere(self, value: int, runs: NDArray[np.bool_]) -> float:
        """Return the share of tokens with this id outside some runs."""
        tokens = np.concatenate([part[2] for part in self.found.sample.values()])
        part = len(tokens) / max(int(self.found.n_phase.sum()), 1)
        elsewhere = np.count_nonzero(tokens == value) - part * self.runs["n"][runs].sum()
        return float((max(elsewhere, 0.0) + 1.0) / (len(tokens) + 1.0))

    def _tokens(self, here: NDArray[np.bool_], side: str) -> NDArray[np.bool_]:
        """Return runs at one edge over one token that occurs at edges and hardly elsewhere: padding by its token."""
        runs, marked, n = self.runs, np.zeros(len(here), bool), int(here.sum())
        edge = runs["tail" if side == "ends" else "head"]
        # A row of the text may continue the padding, which makes two tokens.
        long = here & (runs["n"] >= LONG) & self._over_one_token(here)
        if np.count_nonzero(long) < LEAST_DOCUMENTS:
            return marked
        beside = runs["prev" if side == "ends" else "next"]
        values, times = np.unique(edge[long], return_counts=True)
        for value in values[times >= max(LEAST_DOCUMENTS, SHARE * n)]:
            of_value = here & (edge == value)
            several = len(np.unique(beside[of_value & long]))
            expected = n * self._token_elsewhere(int(value), of_value)
            if self._is_template(of_value & long):
                continue
            if several >= LEAST_DOCUMENTS and expected <= MOST_OWN * several:
                marked |= of_value & (long | (runs["x"] == 1))
        return marked

    def _blank_edges(self) -> NDArray[np.bool_]:
        """Return rows of the first k ids in every layer at edges of documents, if no row inside is equal.

        Three layers with several experts a token hardly ever choose so, nor do four with one.
        """
        runs, found = self.runs, self.found
        blank = runs["blank"] & ~self.inside
        if found.n_layers < LEAST_ALIKE_LAYERS - 1 or not blank.any():
            return np.zeros(len(runs), bool)
        value = runs["key"][np.argmax(blank)]
        if (self.inside & (runs["key"] == value)).any() or (found.short_keys == value).any():
            return np.zeros(len(runs), bool)
        least = 1 if found.top_k > 1 else LONG // 2 if found.n_layers >= LEAST_ALIKE_LAYERS else LONG
        return np.asarray(blank & (runs["n"] >= least))

    def _gap(self) -> NDArray[np.bool_]:
        """Return runs that are longer than all others by more than a heavy tail explains."""
        runs, marked = self.runs, np.zeros(len(self.kind), bool)
        own = self.kind == ""
        worth = np.where(own & self.once, runs["x"], 0)
        long = np.sort(worth[worth >= LONG])[::-1].astype(float)
        few = self.found.lengths + np.bincount(worth[(worth > 0) & (worth < LONG)], minlength=LONG)[:LONG]
        short = np.repeat(np.arange(LONG - 1, 1, -1), np.minimum(few[:1:-1], GAPS + 1))
        lengths = np.concatenate([long, short, [1.5]])
        never = not len(short) and self.found.lengths.sum() >= NEVER_REPEATS
        exponent = NEVER_EXPONENT if never else PRIOR_EXPONENT
        for above in range(1, len(long) + 1):
            top, below = lengths[above - 1], lengths[above]
            if top >= FACTOR * below and _gap_probability(lengths, above, exponent) < GAP:
                marked |= own & (runs["x"] >= top) & (self._no_loops() | never)
                break
        marked[0] |= own[0] and self._opening(lengths, exponent)
        return marked

    def _no_loops(self) -> NDArray[np.bool_]:
        """Return runs that are neither a rule across a page nor a generation that loops over one token to its end."""
        runs = self.runs
        zeros = runs["blank"] & (self.found.n_layers >= LEAST_ALIKE_LAYERS - 1)
        to_the_end = runs["ends"] & ~runs["starts"] & ~zeros
        return np.asarray((runs["head"] >= 0) | ((runs["n"] >= RULE) & ~to_the_end))

    def _opening(self, lengths: NDArray[np.float64], exponent: float) -> bool:
        """Return whether the first run of the trace is a warm-up: one place only, so less evidence is required."""
        first = self.runs[0]
        # Hardly any text begins with so many copies of one token.
        length = float(first["x"] if first["n"] < 4 * LONG else first["n"])
        if length < LONG:
            return False
        at = np.flatnonzero(lengths == first["x"])[:1]
        rest = np.delete(lengths, at) if first["x"] > 1 else lengths
        rest = rest[rest < length]
        return bool(
            len(rest) == len(lengths) - len(at)
            and length >= FACTOR * rest[0]
            and _gap_probability(np.append(length, rest), 1, exponent) < OPENING
        )


def _chance(lengths: NDArray[np.int64], times: NDArray[np.int64], length: int) -> float:
    """Return the probability that a row inside a document ends a run of at least this length.

    One more run, twice as long as the longest, is taken as observed.
    """
    longest = int(lengths[times > 0].max(initial=1))
    further = 2 * longest if longest > 1 else 1
    ends = np.clip(lengths - length + 1, 0, None) @ times + max(further - length + 1, 0) + 1
    return min(float(ends / (lengths @ times + further)), 1.0)


def _once(runs: NDArray[np.void]) -> NDArray[np.bool_]:
    """Mark one of several equal runs between equal rows; documents of one run are not copies."""
    around = keys_of([runs["key"], runs["prev"], runs["next"], runs["n"].astype(np.uint64)], len(runs))
    once = runs["starts"] & runs["ends"]
    once[np.unique(around, return_index=True)[1]] = True
    return np.asarray(once)


def _gap_probability(lengths: NDArray[np.float64], above: int, exponent: float) -> float:
    """Compute the probability of such a gap below the `above` longest, given the gaps below; `lengths` descend."""
    ranks = np.arange(1, len(lengths))
    gaps = ranks * np.log(lengths[:-1] / lengths[1:])
    below = gaps[above : above + GAPS]
    # Lengths are whole numbers: equal ones may differ by up to one.
    seen = below.sum() + (above + 1) * np.log1p(0.5 / lengths[above]) + PRIOR_GAPS / exponent
    return float((1.0 + gaps[above - 1] / seen) ** -(len(below) + PRIOR_GAPS))
