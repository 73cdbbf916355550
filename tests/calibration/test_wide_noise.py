"""Nothing is found in independent choices of k of many experts: no memory, and no information where there is none.

Layers choose apart; loads are even or uneven, documents may have loads of their own in every layer, drawn apart. The
order over layers is then 0, and the information 0; where a share of the targets copies its source, it is known.

Short forms run with the other tests. ``python -m tests.calibration.test_wide_noise RUNS [E]`` measures the grid, all
of it or that of routers with E experts, and prints a line for every cell of it.
"""

import itertools
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from routestat import Trace, TraceMeta
from routestat.counting.score_sums import SUMS
from routestat.forecast import catalogue
from routestat.forecast.board import make_board
from routestat.forecast.specification import BoardPlan
from routestat.inference.information.inclusion_information import inclusion_information
from routestat.inference.markov.order_selection import choose_order
from routestat.traces.metadata import routers_like
from tests.board_cases import rows_of

WIDTHS = ((64, 6), (128, 8), (512, 10))
TOKENS = (1000, 3000, 10_000, 30_000, 100_000)
DOCUMENTS = 40
PREDICTORS = ("popularity", "layer-1-factorised", "layers-2-factorised")


@dataclass(frozen=True)
class Noise:
    """Independent choices of `top_k` of `n_experts`.

    `uneven` loads are drawn from a Dirichlet distribution of 3 per expert. With `own` documents draw their own around
    them, `own` per expert in all: at 1 the load of an expert varies over documents by as much as it is.
    """

    n_experts: int
    top_k: int
    tokens: int
    uneven: bool = False
    own: float = math.inf
    documents: int = DOCUMENTS

    def __str__(self) -> str:
        loads = "uneven" if self.uneven else "even"
        apart = f", documents' own ({self.own:g} per expert)" if math.isfinite(self.own) else ""
        return f"{self.top_k} of {self.n_experts}, {self.tokens:,} tokens of {self.documents}, {loads} loads{apart}"

    def document(self, rng: np.random.Generator) -> np.ndarray:
        """Each token's document; lengths differ by chance."""
        spare = rng.multinomial(self.tokens - self.documents, np.full(self.documents, 1 / self.documents))
        return np.repeat(np.arange(self.documents), spare + 1)

    def base(self, rng: np.random.Generator) -> np.ndarray:
        """The shares of the experts in a layer."""
        even = np.full(self.n_experts, 1 / self.n_experts)
        return rng.dirichlet(np.full(self.n_experts, 3.0)) if self.uneven else even

    def choices(self, rng: np.random.Generator, document: np.ndarray, base: np.ndarray) -> np.ndarray:
        """The experts of each token ``[token, slot]``: a race of exponential times."""
        speed = base[None]
        if math.isfinite(self.own):
            speed = rng.dirichlet(self.own * self.n_experts * base, self.documents)[document]
        times = rng.standard_exponential((len(document), self.n_experts), dtype=np.float32)
        return np.argpartition(times / np.maximum(speed, 1e-30), self.top_k - 1, axis=1)[:, : self.top_k]

    def tables(self, rng: np.random.Generator, bases: list[np.ndarray], copied: float) -> np.ndarray:
        """Tables `[document, source, target]`; a share of the targets is the source's choice, one expert on."""
        document = self.document(rng)
        source, target = (self.choices(rng, document, base) for base in bases)
        copies = rng.random(len(document)) < copied
        target[copies] = (source[copies] + 1) % self.n_experts
        x, y = (self.indicators(chosen) for chosen in (source, target))
        ends = np.concatenate([[0], np.cumsum(np.bincount(document))])
        return np.array([x[a:b].T @ y[a:b] for a, b in itertools.pairwise(ends)]).astype(np.int32)

    def indicators(self, chosen: np.ndarray) -> np.ndarray:
        """Which experts each token takes ``[token, expert]``."""
        taken = np.zeros((len(chosen), self.n_experts), np.float32)
        np.put_along_axis(taken, chosen, 1.0, axis=1)
        return taken

    def truth(self, rng: np.random.Generator, bases: list[np.ndarray], copied: float) -> float:
        """Information in bits per pair of slots; from half a million tokens where loads are uneven."""
        if not copied:
            return 0.0
        e, k = self.n_experts, self.top_k
        pairs = np.full((e, e), k * (k - 1) / (e * (e - 1)))
        np.fill_diagonal(pairs, k / e)
        target = np.full(e, k / e)
        if self.uneven:
            plain, drawn = Noise(e, k, 25_000, True), np.zeros(25_000, np.int64)
            x = [plain.indicators(plain.choices(rng, drawn, bases[0])) for _ in range(20)]
            pairs = sum(one.T @ one for one in x).astype(np.float64) / 500_000
            y = [plain.choices(rng, drawn, bases[1]).ravel() for _ in range(20)]
            target = np.bincount(np.concatenate(y), minlength=e) / 500_000
        joint = copied * np.roll(pairs, 1, axis=1) + (1 - copied) * np.outer(np.diag(pairs), target)
        joint /= joint.sum()
        return float((joint * np.log2(joint / np.outer(joint.sum(axis=1), joint.sum(axis=0)))).sum())


def order(noise: Noise, rng: np.random.Generator) -> int:
    """The order over layers that is found at the last of three."""
    document, bases = noise.document(rng), [noise.base(rng) for _ in range(3)]
    experts = np.stack([noise.choices(rng, document, base) for base in bases], axis=1)
    meta = TraceMeta(routers_like(range(3), noise.n_experts, noise.top_k))
    trace = Trace.from_arrays(meta, document, None, None, experts=experts)
    specs = [catalogue.specification(name) for name in PREDICTORS]
    board = make_board(
        rows_of(trace, groups=64), "expert", BoardPlan(threads=1, calibrate=False), specs=specs
    )
    sums = {score.predictor: score.cells.by_group(score.sums) for score in board if score.target == 2}
    bits = [sums[name][:, SUMS.index("bits")] for name in PREDICTORS]
    choice = choose_order(bits, sums["popularity"][:, 0])
    assert choice.chosen is not None
    return choice.chosen


@dataclass(frozen=True)
class Coverage:
    """How often the interval held the truth where there was one, how often there was, and the centre's bias."""

    shown: int
    runs: int
    covered: float
    bias: float
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        if not self.shown:
            return f"no number in {self.runs} runs ({self.reasons[0].split(':')[0]})"
        error = math.sqrt(0.05 * 0.95 / self.shown)
        return (
            f"number in {self.shown} of {self.runs}, coverage {self.covered:.3f} ± {error:.3f}, "
            f"bias {self.bias:+.2f} of its standard deviation"
        )


def coverage(noise: Noise, copied: float, rng: np.random.Generator, runs: int) -> Coverage:
    """Intervals of independent runs against the truth."""
    bases = [noise.base(rng) for _ in range(2)]
    truth = noise.truth(rng, bases, copied)
    found = [
        inclusion_information(noise.tables(rng, bases, copied), noise.top_k, noise.top_k) for _ in range(runs)
    ]
    known = [one for one in found if one.reason is None]
    values = np.array([one.mi_bits for one in known])
    held = float(np.mean([one.low <= truth <= one.high for one in known])) if known else math.nan
    bias = float((values.mean() - truth) / values.std()) if len(known) > 1 else math.nan
    return Coverage(len(known), runs, held, bias, tuple(one.reason for one in found if one.reason))


@pytest.mark.parametrize(
    ("noise", "runs"),
    [
        (Noise(64, 6, 1000), 4),
        pytest.param(Noise(64, 6, 1000, own=1.0), 4, marks=pytest.mark.long),
        pytest.param(Noise(64, 6, 1000, uneven=True), 6, marks=pytest.mark.long),
        pytest.param(Noise(64, 6, 3000), 6, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_no_order_is_found_in_noise(noise: Noise, runs: int, found: list[str]) -> None:
    rng = np.random.default_rng([noise.n_experts, noise.tokens, noise.uneven])
    longer = sum(order(noise, rng) > 0 for _ in range(runs))
    line = f"{noise}: longer than the truth in {longer} of {runs}"
    found.append(line)
    # What five in a hundred come to at most, but in one of a hundred such tests.
    assert longer <= stats.binom.ppf(0.99, runs, 0.05), line


@pytest.mark.parametrize(
    ("noise", "copied", "runs"),
    [
        (Noise(64, 6, 3000), 0.0, 150),
        (Noise(64, 6, 3000), 0.3, 100),
        pytest.param(Noise(64, 6, 10_000, uneven=True), 0.0, 150, marks=pytest.mark.long),
        pytest.param(Noise(64, 6, 10_000, uneven=True, own=10.0), 0.3, 150, marks=pytest.mark.long),
        pytest.param(Noise(128, 8, 3000), 0.0, 60, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_the_interval_covers_the_truth(noise: Noise, copied: float, runs: int, found: list[str]) -> None:
    rng = np.random.default_rng([noise.n_experts, noise.tokens, noise.uneven, int(100 * copied)])
    measured = coverage(noise, copied, rng, runs)
    line = f"{noise}, {copied:.0%} copied: {measured}"
    found.append(line)
    assert measured.shown > 0.8 * runs, line
    error = math.sqrt(0.05 * 0.95 / measured.shown)
    assert 0.93 - 2 * error <= measured.covered <= 0.97 + 2 * error, line
    assert abs(measured.bias) < 0.4, line


@pytest.mark.parametrize(
    "noise", [Noise(128, 8, 1000), Noise(512, 10, 1000), Noise(64, 6, 3000, uneven=True, own=1.0)], ids=str
)
def test_there_is_no_number_where_it_would_be_wrong(noise: Noise, found: list[str]) -> None:
    rng = np.random.default_rng([noise.n_experts, noise.tokens])
    measured = coverage(noise, 0.0, rng, 3)
    line = f"{noise}: {measured}"
    found.append(line)
    assert measured.shown == 0, line
    assert all("too few" in reason for reason in measured.reasons)


def grid(n_experts: int | None) -> Iterator[Noise]:
    """All cells, those of few tokens first."""
    for tokens, (e, k), uneven, own in itertools.product(
        TOKENS, WIDTHS, (False, True), (math.inf, 10.0, 1.0)
    ):
        if n_experts in (None, e):
            yield Noise(e, k, tokens, uneven, own)


if __name__ == "__main__":
    runs = int(sys.argv[1])
    for noise in grid(int(sys.argv[2]) if len(sys.argv) > 2 else None):
        rng = np.random.default_rng([noise.n_experts, noise.tokens, noise.uneven])
        longer = np.mean([order(noise, rng) > 0 for _ in range(runs)])
        print(f"{noise}: order longer than the truth in {longer:.3f} ± {math.sqrt(0.05 * 0.95 / runs):.3f}")
        for copied in (0.0, 0.05, 0.3):
            print(f"  {copied:.0%} copied: {coverage(noise, copied, rng, runs)}", flush=True)
