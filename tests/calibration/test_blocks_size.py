"""Blocks of transitions: one block where layers are independent, and the planted ones where they are not.

Documents have loads of their own, drawn apart for each layer, which is what makes blocks of noise; their lengths may
differ. At a nominal 5 % the interval of the gain is two-sided, so that 2.5 % is the most that is expected; blocks of
noise lose on left-out documents, so that it is less.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from routestat.structure.block_search import find_biclusters
from tests.calibration.nulls import Null, document_lengths, inclusions, state_tables

# Two tokens of one document agree in 1/9 of the cases beyond chance, and half of them repeat the one before.
HEAVY = Null("document effects", repeat=0.4, concentration=8.0)
PAIRS = [(documents, lengths) for documents in (8, 12, 40, 150) for lengths in ("equal", "exponential")]
EXPERTS = [
    (experts, top, documents, lengths)
    for experts, top in ((64, 6), (128, 8))
    for documents in (12, 40)
    for lengths in ("equal", "exponential")
]
LEAST_RECOVERED = 0.95


def expert_noise(rng, experts, top, documents, lengths):
    """Tables of independent choices of experts by document."""
    document = np.repeat(np.arange(documents), document_lengths(rng, documents, 3_000 // documents, lengths))
    return by_document(document, *(inclusions(rng, document, experts, top, HEAVY) for _ in range(2)))


def by_document(document, source, target):
    return np.stack([source[document == one].T @ target[document == one] for one in np.unique(document)])


@dataclass(frozen=True)
class Planted:
    """Experts of both layers in `blocks` blocks: a token prefers one block of each, `boost` times as much."""

    experts: int
    top: int
    blocks: int
    boost: float
    tokens: int = 30_000
    documents: int = 60

    @property
    def lift(self):
        """Of the cells of one block of each side that belong together, about."""
        inside, outside = (own / (self.boost + self.blocks - 1) for own in (self.boost, 1.0))
        return self.blocks * (inside**2 + (self.blocks - 1) * outside**2)

    def draw(self, rng):
        """Labels of both sides, and the tables of documents that have loads of their own."""
        labels = [rng.permutation(np.arange(self.experts) % self.blocks) for _ in range(2)]
        lengths = document_lengths(rng, self.documents, self.tokens // self.documents, "exponential")
        document = np.repeat(np.arange(self.documents), lengths)
        prefers = rng.integers(0, self.blocks, len(document))
        sides = []
        for own in labels:
            weights = rng.dirichlet(
                8.0 * self.experts * rng.dirichlet(np.full(self.experts, 5.0)), self.documents
            )
            speed = weights.astype(np.float32)[document] * np.where(
                own == prefers[:, None], np.float32(self.boost), np.float32(1)
            )
            times = rng.standard_exponential(speed.shape, dtype=np.float32) / np.maximum(speed, 1e-30)
            taken = np.zeros_like(times)
            np.put_along_axis(taken, np.argpartition(times, self.top - 1, axis=1)[:, : self.top], 1.0, axis=1)
            sides.append(taken)
        return *labels, by_document(document, *sides)


def planted_pairs(rng, strength, tokens=30_000, documents=60, states=28, blocks=4):
    """Labels and tables of 4 by 4 blocks of 28 pairs; every document has its own loads in both layers."""
    labels = [rng.permutation(np.arange(states) % blocks) for _ in range(2)]
    cells = np.where(labels[0][:, None] == labels[1], strength, 1.0)
    bases = rng.dirichlet(np.full(states, 5.0), 2)
    tables = []
    for length in document_lengths(rng, documents, tokens // documents, "exponential"):
        own = [rng.dirichlet(20.0 * base) for base in bases]
        joint = cells * np.outer(*own)
        tables.append(rng.multinomial(length, (joint / joint.sum()).ravel()).reshape(states, states))
    return *labels, np.stack(tables)


def false_rate(runs, draw, seed, **options):
    """Share of runs with blocks, and the mean design effect."""
    rng = np.random.default_rng(seed)
    results = [find_biclusters(draw(rng), rng, **options) for _ in range(runs)]
    return np.mean([one.are_real for one in results]), np.mean([one.design_effect for one in results])


def recovered(runs, draw, seed, blocks, **options):
    """Share of runs with the right number of blocks, and the mean adjusted Rand index of both sides."""
    rng, right, scores = np.random.default_rng(seed), 0, []
    for _ in range(runs):
        rows, columns, tables = draw(rng)
        found = find_biclusters(tables, rng, **options).blocks
        right += (found.n_row_blocks, found.n_column_blocks) == (blocks, blocks)
        used = found.row_labels >= 0, found.column_labels >= 0
        scores.append(adjusted_rand_score(rows[used[0]], found.row_labels[used[0]]))
        scores.append(adjusted_rand_score(columns[used[1]], found.column_labels[used[1]]))
    return right / runs, float(np.mean(scores)), float(np.min(scores))


def pairs_noise(documents, lengths):
    return lambda rng: state_tables(
        rng, 28, document_lengths(rng, documents, 9_000 // documents, lengths), HEAVY
    )


def test_one_block_of_pairs_where_layers_are_independent():
    rate, effect = false_rate(15, pairs_noise(40, "exponential"), 0)
    assert rate <= 0.1
    assert effect > 3


def test_one_block_of_experts_where_layers_are_independent():
    rate, effect = false_rate(4, lambda rng: expert_noise(rng, 64, 6, 12, "exponential"), 1, slots=36)
    assert rate == 0
    assert effect > 2


def test_planted_blocks_of_pairs_are_recovered():
    _, mean, _ = recovered(3, lambda rng: planted_pairs(rng, 3.0), 2, 4)
    assert mean >= LEAST_RECOVERED


def test_planted_blocks_of_128_experts_are_recovered():
    made = Planted(128, 8, 8, 3.0, tokens=10_000)
    _, mean, _ = recovered(1, made.draw, 3, 8, slots=64)
    assert mean >= LEAST_RECOVERED


@pytest.mark.long
def test_false_blocks_of_pairs(found):
    for place, (documents, lengths) in enumerate(PAIRS):
        rate, effect = false_rate(100, pairs_noise(documents, lengths), 100 + place)
        found.append(
            f"blocks in noise, 28 pairs, 9,000 tokens of {documents} documents, {lengths} lengths, "
            f"design effect {effect:.1f}: {rate:.3f} of 100 runs"
        )
        assert rate <= 0.05


@pytest.mark.long
def test_false_blocks_of_experts(found):
    for place, (experts, top, documents, lengths) in enumerate(EXPERTS):
        draw = lambda rng, own=(experts, top, documents, lengths): expert_noise(rng, *own)  # noqa: E731
        rate, effect = false_rate(40, draw, 200 + place, slots=top * top)
        found.append(
            f"blocks in noise, {top} of {experts}, 3,000 tokens of {documents} documents, {lengths} lengths, "
            f"design effect {effect:.1f}: {rate:.3f} of 40 runs"
        )
        assert rate <= 0.05


@pytest.mark.long
def test_recovery(found):
    for strength in (1.5, 2.0, 3.0):
        right, mean, least = recovered(40, lambda rng, own=strength: planted_pairs(rng, own), 300, 4)
        found.append(
            f"4 x 4 blocks of 28 pairs, 30,000 tokens of 60 documents, lift of a block {strength:g}: right number in "
            f"{right:.2f} of 40 runs, adjusted Rand {mean:.3f} (least {least:.3f})"
        )
        assert strength < 2 or mean >= LEAST_RECOVERED
    for boost in (2.0, 2.5, 3.0):
        made = Planted(128, 8, 8, boost)
        right, mean, least = recovered(8, made.draw, 301, 8, slots=64)
        found.append(
            f"8 x 8 blocks of 8 of 128 experts, 30,000 tokens of 60 documents, lift of a block {made.lift:.2f}: "
            f"right number in {right:.2f} of 8 runs, adjusted Rand {mean:.3f} (least {least:.3f})"
        )
        assert made.lift < 1.25 or mean >= LEAST_RECOVERED
