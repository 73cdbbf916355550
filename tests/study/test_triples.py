"""Three consecutive layers: the listed cells, which three are shown, and findings that do not depend on threads."""

import numpy as np
import pytest

from routestat.study import triples as study_triples
from routestat.study.triples import departing, find_triples, most_informative
from tests.counting.three_layer_traces import random_sample, sample_of


def found_in(sample, states="subset", **how):
    return find_triples(sample, states, np.random.default_rng(0), **how)


def synergy(documents=30, n_layers=4):
    """The third layer is the sum of the first two, the fourth follows the third."""
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 4, (2, 60 * documents))
    z = np.where(rng.random(len(x)) < 0.8, (x + y) % 4, rng.integers(0, 4, len(x)))
    last = np.where(rng.random(len(x)) < 0.8, z, rng.integers(0, 4, len(x)))
    return sample_of(np.stack([x, y, z, last], axis=1)[:, :n_layers], [60] * documents, 4, 1)


def test_a_sum_of_two_layers_is_synergy_and_a_chain_is_not():
    sums, chain = found_in(synergy())
    assert sums.information.interaction.high < -0.5
    assert sums.n_more + sums.n_fewer > 40
    assert chain.n_more + chain.n_fewer == 0
    assert abs(chain.information.interaction.value) < 0.05
    assert abs(sums.shuffled_bits) < 0.05
    assert not sums.is_near_noise_floor
    assert most_informative((chain, sums)) == 1
    worst = departing(sums.table)
    far = np.abs(sums.table.count - sums.table.chain.expected)[worst]
    assert (np.diff(far) <= 0).all()
    assert len(worst) == sums.n_more + sums.n_fewer


def test_cells_are_listed_by_tokens_and_missing_ones_last(monkeypatch):
    monkeypatch.setattr(study_triples, "MOST_LISTED", 5)
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 2, (2, 4000))
    sample = sample_of(np.stack([x, y, x ^ y], axis=1), [100] * 40, 2, 1)
    (found,) = found_in(sample)
    table = found.table
    assert table.count.tolist() == [*sorted(table.count[:4].tolist(), reverse=True), 0, 0, 0, 0]
    assert (table.documents > 0).tolist() == [True] * 4 + [False] * 4
    assert (table.chain.z[4:] < 0).all()
    first, middle, last = table.choices
    assert ((first ^ middle) == last).tolist() == [True] * 4 + [False] * 4
    assert table.conditional.tolist() == [1.0] * 4 + [0.0] * 4
    assert (found.n_cells, found.n_possible, found.n_more, found.n_fewer) == (4, 8, 4, 4)


def test_margins_add_up_to_the_tokens():
    (found,) = found_in(random_sample(5, [40] * 8))
    first, middle, last = found.margins.choices
    for used in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)):
        own = [(part >= 0) == bool(kept) for part, kept in zip((first, middle, last), used, strict=True)]
        rows = np.logical_and.reduce(own)
        assert found.margins.count[rows].sum() == found.n_tokens == 320
        expected = found.margins.expected[rows].sum()
        assert expected == pytest.approx(320) if sum(used) == 1 else 0 < expected < 320.001


@pytest.mark.parametrize("states", ["subset", "expert"])
def test_threads_change_nothing(states: str):
    sample = random_sample(6, [40] * 8, n_layers=5)
    ticks = []
    one = found_in(sample, states, threads=1, tick=lambda *what: ticks.append(what))
    several = found_in(sample, states, threads=3)
    assert ticks == [("counting three layers", done, 3) for done in range(4)]
    for a, b in zip(one, several, strict=True):
        np.testing.assert_array_equal(a.table.count, b.table.count)
        np.testing.assert_array_equal(a.table.chain.z, b.table.chain.z)
        assert a.shuffled_bits == b.shuffled_bits or states == "expert"


def test_relabelled_experts_change_only_labels():
    sample = random_sample(7, [40] * 10, 5, 1)
    states = np.stack([sample.columns[router.name] for router in sample.routers], axis=1).astype(int)
    order = np.random.default_rng(0).permuted(np.tile(np.arange(5), (3, 1)), axis=1)
    renamed = sample_of(np.stack([order[l][states[:, l]] for l in range(3)], axis=1), [40] * 10, 5, 1)
    (a,), (b,) = found_in(sample), found_in(renamed)
    assert (a.n_more, a.n_fewer, a.n_cells) == (b.n_more, b.n_fewer, b.n_cells)
    assert a.information.interaction.value == pytest.approx(b.information.interaction.value)
    np.testing.assert_allclose(np.sort(a.table.chain.z), np.sort(b.table.chain.z))


def test_few_layers_and_missing_choices():
    assert found_in(random_sample(8, [20] * 4, n_layers=2)) == ()
    assert most_informative(()) is None
    for states in ("subset", "expert"):
        (none,) = found_in(random_sample(8, [20] * 8, missing=1.0), states)
        assert (none.n_tokens, none.n_cells, len(none.table)) == (0, 0, 0)
        assert most_informative([none]) is None


def test_many_tokens_are_sampled(monkeypatch):
    monkeypatch.setattr(study_triples, "MOST_TOKEN_CELLS", 4000)
    sample = random_sample(9, [40] * 200)
    (found,) = found_in(sample)
    assert 0 < found.n_tokens < len(sample)
    assert found.sample_note.startswith(f"on {found.n_tokens:,} tokens")
