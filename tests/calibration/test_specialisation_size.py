"""Without specialists, and with one kind only, the tests of the other kind keep their size and find nothing.

Documents differ in the weights of all experts, and in length; domains use classes of tokens more or less.
"""

import math

import numpy as np
import pytest

from routestat.counting.labelled_tokens import count_choices
from routestat.inference.base.multiplicity import adjust_log10
from routestat.structure.half_samples import halves_of
from routestat.structure.specialisation import LayerSpecialisation, specialise
from routestat.structure.token_labels import label_tokens
from tests.structure.label_cases import planted

LEVEL = math.log10(0.05)
#: Factors of the topical and the lexical expert, and what then holds of the two kinds.
CASES = {
    "nothing": (1.0, 1.0, ("domain", "lexical")),
    "lexical expert": (1.0, 6.0, ("domain",)),
    "topical expert": (6.0, 1.0, ("lexical",)),
}
SHAPES = {
    "60 documents, equal": dict(documents=60, mean_length=80),
    "60 documents, exponential": dict(documents=60, mean_length=80, lengths="exponential"),
    "16 experts, top 4, 100 documents": dict(
        documents=100, mean_length=100, lengths="exponential", n_experts=16, top_k=4
    ),
}


def measured(seed: int, view: str, **how) -> list[LayerSpecialisation]:
    _, sample, texts = planted(seed, mixing=0.8, document_effect=0.6, layers=2, **how)
    rng = np.random.default_rng(seed)
    router = sample.routers[0]
    choices, slots = (router.alphabet.size, 1) if view == "subset" else (router.n_experts, router.top_k)
    labels = label_tokens(sample, texts, choices, slots, rng)
    halves = halves_of(labels.meetings.n_groups, rng)
    return [
        specialise(count_choices(sample, one, view, labels.meetings), labels, halves)
        for one in sample.routers
    ]


def rates(case: str, shape: str, runs: int) -> dict[str, tuple[float, float, float]]:
    """Rates by kind: tests that reject, cells with p < 0.05, and runs in which any cell is found (q < 0.05)."""
    topical, lexical, null = CASES[case]
    how = SHAPES[shape]
    view = "expert" if how.get("n_experts", 8) > 8 else "subset"
    found: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in null}
    for seed in range(runs):
        layers = measured(seed, view, topical=topical, lexical=lexical, **how)
        for kind in null:
            tests = [
                (one.domain_given_test if kind == "domain" else one.lexical_given_test).log10_p < LEVEL
                for one in layers
            ]
            cells = [one.domain_cells if kind == "domain" else one.lexical_cells for one in layers]
            p = np.concatenate([one.log10_p.ravel() for one in cells])
            some = bool((adjust_log10(p, "by") < LEVEL).any())
            found[kind].append((float(np.mean(tests)), float(np.nanmean(p < LEVEL)), float(some)))
    return {kind: tuple(np.mean(values, axis=0).tolist()) for kind, values in found.items()}


def line(case: str, shape: str, kind: str, of: tuple[float, float, float], runs: int) -> str:
    return (
        f"{case:<16}{shape:<36}{kind:<9}{runs:>5} runs  test {of[0]:.3f}  cells p < .05 {of[1]:.3f}"
        f"  any cell q < .05 {of[2]:.3f}"
    )


@pytest.mark.parametrize("case", CASES)
def test_size(case, found):
    shape, runs = "60 documents, exponential", 20
    for kind, of in rates(case, shape, runs).items():
        found.append(line(case, shape, kind, of, runs))
        # Two tests in each of 20 runs: more than 7 of 40 rejections have probability 0.0007 at .05.
        assert of[0] <= 7 / 40
        assert of[2] <= 3 / 20


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_size_long(case, shape, found):
    runs = 150
    for kind, of in rates(case, shape, runs).items():
        found.append(line(case, shape, kind, of, runs))
        # Three Monte-Carlo errors about .05 in 300 tests that are correlated in twos, and about .07 in 150 runs.
        assert of[0] <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)
        assert of[2] <= 0.07 + 3 * math.sqrt(0.07 * 0.93 / 150)
