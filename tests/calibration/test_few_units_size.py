"""Size, tail and power of the clustered tests on 6 to 40 units, under document effects.

Documents are the units: they prefer states (or experts) of their own and their tokens repeat each other, but source
and target share nothing. Lengths are equal or exponential. A test at 5 % should reject in 3 to 7 % of runs, or in less
where the table is far too large for so few tokens, and one at 1 % in at most 2 %: six units cannot reject at 1 %.
The default run has the short form; the slow one makes the whole table.
"""

import math

import numpy as np
import pytest

from routestat.inference.association.expert_independence import independence_experts
from routestat.inference.association.independence import independence
from routestat.inference.base.units import too_few
from routestat.inference.markov.order_score_test import clustered_order
from routestat.inference.two_sample.distributions import compare_distributions, compare_transitions
from tests.calibration.nulls import BOTH, DOCUMENTS, document_lengths, expert_tables, state_tables
from tests.calibration.test_order_size import ALL, ENDS, order_one
from tests.oracle.order_oracle import strata_of_tokens

MEAN_LENGTH = 100
UNITS = (6, 8, 10, 15, 20, 40)
KINDS = ("equal", "exponential")


def lengths_of(rng: np.random.Generator, units: int, kind: str, mean: int = MEAN_LENGTH) -> np.ndarray:
    """Lengths that allow a test at all: very unequal ones have none."""
    while True:
        lengths = document_lengths(rng, units, mean, kind)
        if too_few(lengths) is None:
            return lengths


def report(name: str, p: np.ndarray, found: list[str]) -> tuple[float, float]:
    """Rates at 5 and at 1 %, with their Monte-Carlo errors among the lines `found`."""
    p = p[np.isfinite(p)]
    rates = [float(np.mean(p < level)) for level in (0.05, 0.01)]
    shown = ", ".join(
        f"{rate:.3f} ± {math.sqrt(max(rate, 1 / len(p)) * (1 - rate) / len(p)):.3f} at {level}"
        for rate, level in zip(rates, ("5 %", "1 %"), strict=True)
    )
    found.append(f"{name}: {shown} ({len(p)} runs)")
    return rates[0], rates[1]


def check(rates: tuple[float, float], runs: int, least: float) -> None:
    """The claim is of at most 7 % and 2 %, and of `least` at 5 %; two errors of the runs are allowed."""
    for rate, most in zip(rates, (0.07, 0.02), strict=True):
        assert rate <= most + 2 * math.sqrt(most * (1 - most) / runs), rates
    assert rates[0] >= least - 2 * math.sqrt(least * (1 - least) / runs), rates


def cases(shapes: list[tuple[str, float, int]], short: tuple[str, int]) -> list:
    """Of every shape and number of units; the short form keeps one."""
    return [
        pytest.param(
            shape, units, kind, least, runs,
            marks=() if (shape, units) == short else pytest.mark.long, id=f"{shape}-{units}-{kind}",
        )
        for shape, least, runs in shapes
        for units in UNITS
        for kind in KINDS
    ]  # fmt: skip


def independence_p(
    rng: np.random.Generator, shape: str, units: int, kind: str, null: object, coupling: float = 0.0
) -> float:
    lengths = lengths_of(rng, units, kind)
    experts, _, states = shape.rpartition(" of ")
    if not experts:
        return independence(state_tables(rng, int(states), lengths, null, coupling)).p_clustered
    tables = expert_tables(rng, int(states), int(experts), lengths, null, coupling)
    return independence_experts(*tables).p_clustered


@pytest.mark.parametrize(
    ("shape", "units", "kind", "least", "runs"),
    cases([("8", 0.03, 600), ("28", 0.015, 600), ("2 of 8", 0.03, 600), ("6 of 64", 0.01, 200)], ("8", 8)),
)
def test_independence(shape: str, units: int, kind: str, least: float, runs: int, found: list[str]) -> None:
    for null in (DOCUMENTS, BOTH):
        rng = np.random.default_rng([1, len(shape), units, kind == "equal", len(null.name)])
        p = np.array([independence_p(rng, shape, units, kind, null) for _ in range(runs)])
        rates = report(f"independence, {shape:7}, {units:2} {kind:11} units, {null.name}", p, found)
        check(rates, runs, least)


@pytest.mark.parametrize(
    ("shape", "units", "kind", "least", "runs"), cases([("8", 0.02, 300), ("28", 0.0, 100)], ("8", 8))
)
def test_order(shape: str, units: int, kind: str, least: float, runs: int, found: list[str]) -> None:
    for dependence in (ENDS, ALL):
        rng = np.random.default_rng([2, int(shape), units, kind == "equal", len(dependence.name)])
        p = np.array(
            [
                clustered_order(
                    order_one(rng, int(shape), lengths_of(rng, units, kind, 200), dependence)
                ).p_clustered
                for _ in range(runs)
            ]
        )
        rates = report(f"order, {shape:2} states, {units:2} {kind:11} units, {dependence.name}", p, found)
        check(rates, runs, least)


@pytest.mark.parametrize(
    ("shape", "units", "kind", "least", "runs"),
    cases([("8", 0.02, 300), ("28", 0.0, 200), ("2 of 8", 0.02, 300), ("6 of 64", 0.0, 60)], ("8", 8)),
)
def test_comparison(shape: str, units: int, kind: str, least: float, runs: int, found: list[str]) -> None:
    """Of as many units, and of 20 more in the other sample."""
    top, _, states = shape.rpartition(" of ")
    for other in (units, units + 20) if units < 20 else (units,):
        rng = np.random.default_rng([3, len(shape), units, other, kind == "equal"])
        p: dict[str, list[float]] = {"load": [], "joint": [], "given the source": []}
        for _ in range(runs):
            lengths = np.concatenate([lengths_of(rng, n, kind, 60) for n in (units, other)])
            if top:
                tables, x, *_ = expert_tables(rng, int(states), int(top), lengths, BOTH)
                tables, x = tables.astype(int), x.astype(int)
            else:
                tables = state_tables(rng, int(states), lengths, BOTH)
                x = tables.sum(axis=2)
            k = int(top or 1)
            step = compare_transitions(tables[:units], tables[units:], per_token=k * k)
            p["load"].append(compare_distributions(x[:units], x[units:], per_token=k).p_clustered)
            p["joint"].append(step.joint.p_clustered)
            p["given the source"].append(step.conditional.p_clustered)
        for name, values in p.items():
            title = f"comparison, {shape:7}, {units:2} and {other:2} {kind:11} units, {name}"
            check(report(title, np.array(values), found), runs, least if name == "load" else 0.0)


@pytest.mark.parametrize(
    ("units", "kind"),
    [
        pytest.param(units, kind, marks=() if units == 15 else pytest.mark.long)
        for units in UNITS
        for kind in KINDS
    ],
)
def test_power(units: int, kind: str, found: list[str]) -> None:
    """A planted dependence: a share of the targets copies the source, or is the sum of the two layers before."""
    runs = 60
    for shape, coupling in (("8", 0.12), ("28", 0.08), ("2 of 8", 0.15)):
        rng = np.random.default_rng([4, len(shape), units, kind == "equal"])
        p = np.array([independence_p(rng, shape, units, kind, BOTH, coupling) for _ in range(runs)])
        rate, _ = report(f"power, independence, {shape:6}, {units:2} {kind:11} units", p, found)
        # Six units can reach no less than 1 in 32, and unequal ones hardly that.
        assert rate > (0.8 if units >= 20 else 0.4 if units >= 10 else 0.1), rate
    rng, p = np.random.default_rng([5, units, kind == "equal"]), []
    for _ in range(runs):
        lengths = lengths_of(rng, units, kind, 200)
        document = np.repeat(np.arange(units), lengths)
        x, y, z = rng.integers(0, 8, (3, len(document)))
        z = np.where(rng.random(len(x)) < 0.25, (x + y) % 8, z)
        p.append(clustered_order(strata_of_tokens(x, y, z, document, (8, 8, 8))).p_clustered)
    rate, _ = report(f"power, order, 8 states, {units:2} {kind:11} units", np.array(p), found)
    assert rate > (0.8 if units >= 20 else 0.4 if units >= 10 else 0.1), rate
