"""Size, coverage and power of the comparison of two samples of one distribution or of two.

Documents prefer states and tokens repeat their predecessor. The i.i.d. test must be seen to fail on the same data.
"""

import math
from collections import defaultdict

import numpy as np
import pytest

from routestat.inference.two_sample.cells import cell_differences
from routestat.inference.two_sample.distributions import compare_distributions, compare_transitions
from routestat.inference.two_sample.permutation_test import permutation_p
from tests.calibration.forms import error, forms, within
from tests.calibration.nulls import BOTH, Coupled, document_lengths, expert_tables, state_tables
from tests.oracle.comparison_oracle import conditional_divergence, divergence

MEAN_LENGTH = 60
# Of the nominal 5 %, beside two Monte-Carlo errors.
ALLOWED = {"equal": (0.03, 0.07), "exponential": (0.02, 0.08)}


def case(k: int, a: int, b: int, kind: str, runs: int, long: int) -> list:
    return forms(k, a, b, kind, short=runs, long=long, name=f"{k}-{a}-{b}-{kind}")


def line(name: str, rates: dict[str, list[bool]], runs: int) -> str:
    shown = ", ".join(
        f"{key} {np.mean(hits):.3f} ± {error(np.mean(hits), runs):.3f}" for key, hits in rates.items()
    )
    return f"{name}: {shown}"


def collect(rates: dict[str, list[bool]], a: np.ndarray, b: np.ndarray, paired: bool, rng) -> None:
    load = [t.sum(axis=2) for t in (a, b)]
    layer, step = compare_distributions(*load, paired=paired), compare_transitions(a, b, paired=paired)
    rates["load"].append(layer.p_clustered < 0.05)
    rates["joint"].append(step.joint.p_clustered < 0.05)
    rates["given the source"].append(step.conditional.p_clustered < 0.05)
    rates["load i.i.d."].append(layer.log10_p_iid < math.log10(0.05))
    rates["relabelled"].append(permutation_p(*load, rng, paired=paired, n_resamples=199) <= 0.05)
    rates["any state moved"].append(cell_differences(*load, paired=paired).moved.any())


@pytest.mark.parametrize(
    ("k", "a", "b", "kind", "runs"),
    [
        *case(8, 60, 60, "equal", 200, 400),
        *case(8, 60, 60, "exponential", 200, 400),
        *case(8, 20, 100, "exponential", 200, 400),
        *case(28, 60, 60, "equal", 150, 600),
        *case(28, 60, 60, "exponential", 150, 600),
        *case(28, 150, 150, "equal", 100, 400),
        *case(28, 150, 150, "exponential", 100, 400),
        *case(28, 20, 100, "exponential", 150, 600),
    ],
)
def test_samples_of_one_distribution(k: int, a: int, b: int, kind: str, runs: int, found: list[str]) -> None:
    rng = np.random.default_rng([k, a, b, kind == "equal"])
    rates: dict[str, list[bool]] = defaultdict(list)
    for _ in range(runs):
        both = state_tables(rng, k, document_lengths(rng, a + b, MEAN_LENGTH, kind), BOTH)
        collect(rates, both[:a], both[a:], False, rng)
    found.append(line(f"{k:2} states, {a} and {b} {kind} documents", rates, runs))
    for name in ("load", "joint", "given the source"):
        assert within(float(np.mean(rates[name])), runs, *ALLOWED[kind]), name
    assert np.mean(rates["load i.i.d."]) > 0.5
    assert np.mean(rates["any state moved"]) < 0.08


@pytest.mark.parametrize(
    ("k", "top", "documents", "kind", "runs"),
    [
        pytest.param(16, 4, 60, "exponential", 100, id="16-60-exponential"),
        *forms(64, 6, 60, "equal", short=60, long=300, name="64-60-equal"),
        *forms(64, 6, 60, "exponential", short=60, long=300, name="64-60-exponential"),
    ],
)
def test_samples_of_one_distribution_of_experts(
    k: int, top: int, documents: int, kind: str, runs: int, found: list[str]
) -> None:
    rng = np.random.default_rng([k, documents, kind == "equal"])
    rates: dict[str, list[bool]] = defaultdict(list)
    for _ in range(runs):
        tables, x, *_ = expert_tables(
            rng, k, top, document_lengths(rng, 2 * documents, MEAN_LENGTH, kind), BOTH
        )
        halves = [(t[:documents].astype(int), t[documents:].astype(int)) for t in (x, tables)]
        layer = compare_distributions(*halves[0], per_token=top)
        step = compare_transitions(*halves[1], per_token=top * top)
        rates["load"].append(layer.p_clustered < 0.05)
        rates["joint"].append(step.joint.p_clustered < 0.05)
        rates["given the source"].append(step.conditional.p_clustered < 0.05)
    found.append(line(f"{top} of {k} experts, {documents} and {documents} {kind} documents", rates, runs))
    for name, hits in rates.items():
        assert within(float(np.mean(hits)), runs, *ALLOWED[kind]), name


def test_one_channel_behind_two_loads_is_one_transition(found: list[str]) -> None:
    rng, runs, k = np.random.default_rng(3), 200, 8
    rates: dict[str, list[bool]] = defaultdict(list)
    for _ in range(runs):
        truth = Coupled.draw(rng, k)
        other = Coupled(rng.dirichlet(np.full(k, 8.0)), truth.channel)
        a, b = (t.tables(rng, document_lengths(rng, 60, MEAN_LENGTH, "equal")) for t in (truth, other))
        step = compare_transitions(a, b)
        rates["joint"].append(step.joint.p_clustered < 0.05)
        rates["given the source"].append(step.conditional.p_clustered < 0.05)
    found.append(line("one channel, two loads", rates, runs))
    assert np.mean(rates["joint"]) > 0.95
    assert within(float(np.mean(rates["given the source"])), runs, 0.03, 0.07)


def noisy(rng: np.random.Generator, tables: np.ndarray, share: float) -> np.ndarray:
    """The same documents with a share of the tokens drawn anew from the cells of all documents."""
    moved = rng.binomial(tables, share)
    shares = tables.sum(axis=0).ravel() / tables.sum()
    again = np.array([rng.multinomial(n, shares) for n in moved.sum(axis=(1, 2))])
    return tables - moved + again.reshape(tables.shape)


def test_the_same_documents_twice(found: list[str]) -> None:
    runs, k = 200, 8
    for kind in ("equal", "exponential"):
        rng = np.random.default_rng([9, kind == "equal"])
        rates: dict[str, list[bool]] = defaultdict(list)
        for _ in range(runs):
            base = state_tables(rng, k, document_lengths(rng, 60, MEAN_LENGTH, kind), BOTH)
            collect(rates, noisy(rng, base, 0.1), noisy(rng, base, 0.1), True, rng)
        found.append(line(f"{k} states, 60 {kind} documents twice", rates, runs))
        for name in ("load", "joint", "given the source", "relabelled"):
            assert within(float(np.mean(rates[name])), runs, *ALLOWED[kind]), (kind, name)


def test_a_planted_shift_is_found_and_pairing_finds_a_smaller_one(found: list[str]) -> None:
    rng, runs, k = np.random.default_rng(4), 60, 8
    rates: dict[str, list[bool]] = defaultdict(list)
    for _ in range(runs):
        both = state_tables(rng, k, document_lengths(rng, 120, MEAN_LENGTH, "exponential"), BOTH).sum(axis=2)
        busiest, calmest = np.argsort(both.sum(axis=0))[[-1, 0]]
        for share, a, b, paired in ((0.6, both[:60], both[60:], False), (0.03, both[:60], both[:60], True)):
            gone = rng.binomial(b[:, busiest], share)
            b = b.copy()
            b[:, busiest] -= gone
            b[:, calmest] += gone
            name = "paired" if paired else "unpaired"
            rates[name].append(compare_distributions(a, b, paired=paired).p_clustered < 0.05)
            cells = cell_differences(a, b, paired=paired)
            rates[name + ", cells"].append(set(cells.cell[cells.moved]) >= {busiest, calmest})
            if paired:
                rates["the same, unpaired"].append(compare_distributions(a, b).p_clustered < 0.05)
    found.append(line("planted shift", rates, runs))
    assert np.mean(rates["unpaired"]) > 0.9
    assert np.mean(rates["unpaired, cells"]) > 0.6
    assert np.mean(rates["paired"]) > 0.9
    assert np.mean(rates["the same, unpaired"]) < 0.1


@pytest.mark.parametrize(("kind", "runs"), [("equal", 200), ("exponential", 200)])
def test_intervals_cover_a_true_divergence(kind: str, runs: int, found: list[str]) -> None:
    rng, k = np.random.default_rng([5, kind == "equal"]), 8
    rates: dict[str, list[bool]] = defaultdict(list)
    for _ in range(runs):
        one, other = Coupled.draw(rng, k), Coupled.draw(rng, k)
        a, b = (t.tables(rng, document_lengths(rng, 100, 3 * MEAN_LENGTH, kind)) for t in (one, other))
        layer, step = compare_distributions(a.sum(axis=2), b.sum(axis=2)), compare_transitions(a, b)
        joints = [t.base[:, None] * t.channel for t in (one, other)]
        for name, got, true in (
            ("load", layer, divergence(one.base, other.base)),
            ("joint", step.joint, divergence(*joints)),
            ("given the source", step.conditional, conditional_divergence(*joints)),
        ):
            rates[name].append(got.jsd_bits_low <= true <= got.jsd_bits_high)
    found.append(line(f"coverage, {kind} documents", rates, runs))
    for name, hits in rates.items():
        assert within(float(np.mean(hits)), runs, 0.93, 0.97), name
