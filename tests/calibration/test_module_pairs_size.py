"""Where nothing depends on the step before, tests of shared modules reject at their nominal level.

Documents have weights of their own at every step and half of their tokens repeat the token before; lengths are
exponential.
"""

import math

import numpy as np
import pytest

from routestat.structure.module_pairs import joint_selection, repeats, successions
from routestat.structure.modules import deployment
from tests.structure.module_tables import made

LEVEL = math.log10(0.05)


def rates(modules: int, top_k: int, groups: int, runs: int, seed: int) -> dict[str, float]:
    """Shares of cells rejected at 5 %, and of runs in which any cell is found after adjustment."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}

    def add(name: str, rejected: np.ndarray) -> None:
        found.setdefault(name, []).append(float(np.mean(rejected)))

    for _ in range(runs):
        tables = made(rng, modules=modules, top_k=top_k, groups=groups, tokens=40)
        after = successions(tables.steps)
        add("successions", after.log10_p < LEVEL)
        add("any succession found", (after.log10_q < LEVEL).any())
        add("repeats", np.array(repeats(tables.steps, [top_k] * 3).log10_p < LEVEL))
        if top_k > 1:
            steps = zip(tables.pairs, tables.inclusions, [tables.tokens] * 4, strict=True)
            together = joint_selection(steps, top_k)
            add("joint selection", together.log10_p < LEVEL)
            add("any pair found", (together.log10_q < LEVEL).any())
        level = made(rng, modules=modules, top_k=top_k, groups=groups, tokens=40, drift=1e-12)
        add("mean layer", deployment(level.inclusions, range(4)).log10_p < LEVEL)
    return {name: float(np.mean(values)) for name, values in found.items()}


@pytest.mark.parametrize(("modules", "top_k", "groups"), [(6, 1, 60), (8, 2, 60)])
def test_size(modules, top_k, groups, found):
    check(modules, top_k, groups, 15, found)


@pytest.mark.long
@pytest.mark.parametrize(
    ("modules", "top_k", "groups"), [(6, 1, 30), (6, 1, 120), (8, 2, 30), (8, 2, 120), (16, 4, 60)]
)
def test_size_in_many_runs(modules, top_k, groups, found):
    check(modules, top_k, groups, 100, found)


def check(modules, top_k, groups, runs, found):
    measured = rates(modules, top_k, groups, runs, modules + top_k + groups)
    text = ", ".join(f"{name} {rate:.3f}" for name, rate in measured.items())
    found.append(f"{top_k} of {modules} modules, {groups} documents, {runs} runs at 5 %: {text}")
    # Cells of one run depend on each other: three Monte-Carlo errors as if each run were one test.
    slack = 3 * math.sqrt(0.05 * 0.95 / runs)
    for name in ("successions", "joint selection", "mean layer", "repeats"):
        assert measured.get(name, 0.05) <= 0.05 + slack, text
    for name in ("any succession found", "any pair found"):
        assert measured.get(name, 0.0) <= 0.05 + slack, text
