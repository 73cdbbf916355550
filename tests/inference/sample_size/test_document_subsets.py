"""How many documents are enough: known distributions, extrapolations against larger samples, and unseen experts."""

import math

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import sandwich_error
from routestat.inference.base.units import effective_units
from routestat.inference.information.mutual_information import (
    information_scores,
    mutual_information,
    mutual_information_interval,
)
from routestat.inference.sample_size.document_subsets import sample_size
from routestat.inference.sample_size.interval_width import quantile
from routestat.structure.load_balance import load_balance


def documents(rng, groups, n_states=6, tokens=60, taste=0.6, coupling=0.4):
    """Tables [group, source, target] of documents with tastes of their own, loads of the target and tokens."""
    size = rng.integers(tokens // 2, tokens * 3 // 2, groups)
    base = rng.dirichlet(np.full(n_states, 3.0))
    tables = np.zeros((groups, n_states, n_states), int)
    for g, n in enumerate(size):
        distribution = base * np.exp(rng.normal(0, taste, n_states))
        source = rng.choice(n_states, n, p=distribution / distribution.sum())
        target = np.where(
            rng.random(n) < coupling, source, rng.choice(n_states, n, p=distribution / distribution.sum())
        )
        np.add.at(tables[g], (source, target), 1)
    return tables, tables.sum(axis=1), size


def test_all_groups_give_what_the_rooms_say():
    rng = np.random.default_rng(0)
    tables, loads, size = documents(rng, 50)
    found = sample_size(loads, size, rng, tables=tables, draws=3)
    assert found.sizes.tolist() == [4, 8, 16, 32, 50]
    assert found.ahead.tolist() == [100, 200]
    whole = load_balance(loads, size, 1)
    assert found.load.measured[-1] == pytest.approx(((whole.load_high - whole.load_low) / 2).mean(), rel=1e-9)
    bits = mutual_information_interval(tables)
    assert found.mi_bits_plugin[-1] == pytest.approx(bits.mi_bits_plugin, rel=1e-12)
    assert found.information.measured[-1] == pytest.approx((bits.high - bits.low) / 2, rel=1e-9)
    assert np.isfinite(found.ranking_tau[:3]).all()
    assert np.isnan(found.ranking_tau[3:]).all()


@pytest.mark.parametrize("at_once", [1, 10**6])
def test_information_of_subsets_is_that_of_each(monkeypatch, at_once):
    monkeypatch.setattr("routestat.inference.base.chunks.CELLS", at_once)
    tables, loads, size = documents(np.random.default_rng(5), 20)
    found = sample_size(loads, size, np.random.default_rng(6), tables=tables, draws=4)
    rng, worth = np.random.default_rng(6), effective_units(size) / 20
    for at, m in enumerate((4, 8, 16, 20)):
        bits, widths = [], []
        for _ in range(4 if m < 20 else 1):
            own = tables[rng.permutation(20)[:m]]
            total = own.sum(axis=0).astype(float)
            bits.append(mutual_information(total))
            error = float(sandwich_error(information_scores(total, own))) / total.sum() / math.log(2)
            widths.append(error * quantile(m, worth))
        assert found.mi_bits_plugin[at] == pytest.approx(np.mean(bits), rel=1e-10)
        assert found.information.measured[at] == pytest.approx(np.mean(widths), rel=1e-10)


def test_needed_by_hand():
    # Groups of 10 tokens with 4 and 6 uses of expert 0 in turn: scores of +-1, an error of 1/10/sqrt(99) of
    # the load of all 100; that is .1005 / sqrt(m) for m. Quantiles at 5 and 6 groups are 2.776 and 2.571: widths
    # of .125 and .1055.
    uses = np.tile([4, 6], 50)
    found = sample_size(
        np.column_stack([uses, 10 - uses]),
        np.full(100, 10),
        np.random.default_rng(1),
        load_target=0.12,
        draws=40,
    )
    m = 100
    assert found.load.measured[-1] == pytest.approx(0.1 / math.sqrt(m - 1) * 1.984217, rel=1e-6)
    assert found.load.ahead[1] == pytest.approx(0.1 * math.sqrt(100 / 99) / 20 * 1.965927, rel=1e-6)
    assert found.load.groups_needed == 6
    assert found.load.exponent == pytest.approx(-0.5, abs=0.03)
    assert found.information is None


def test_groups_are_distinguished_from_documents():
    rng = np.random.default_rng(2)
    _, loads, size = documents(rng, 64)
    alone = sample_size(loads, size, np.random.default_rng(3))
    bundled = sample_size(loads, size, np.random.default_rng(3), documents=np.full(64, 7))
    assert (alone.n_documents, bundled.n_documents) == (64, 448)
    assert bundled.load.groups_needed == alone.load.groups_needed
    assert bundled.load.documents_needed == 7 * alone.load.documents_needed
    assert bundled.ranking_documents == pytest.approx(7 * alone.ranking_documents, nan_ok=True)


@pytest.mark.parametrize("seed", range(4))
def test_the_width_ahead_is_the_width_that_comes(seed):
    rng = np.random.default_rng([4, seed])
    tables, loads, size = documents(rng, 400)
    quarter = sample_size(loads[:100], size[:100], rng, tables=tables[:100])
    whole = sample_size(loads, size, rng, tables=tables)
    assert quarter.load.ahead[1] == pytest.approx(whole.load.measured[-1], rel=0.15)
    assert quarter.information.ahead[1] == pytest.approx(whole.information.measured[-1], rel=0.15)
    assert quarter.load.exponent == pytest.approx(-0.5, abs=0.1)


def test_widths_fall_rankings_settle_and_information_falls_to_its_limit():
    rng = np.random.default_rng(5)
    tables, loads, size = documents(rng, 256, n_states=8, tokens=20, coupling=0.2)
    found = sample_size(loads, size, rng, tables=tables, draws=40)
    assert (np.diff(found.load.measured) < 0).all()
    assert (np.diff(found.information.measured[1:]) < 0).all()
    assert (np.diff(found.mi_bits_plugin) < 0).all()
    assert found.ranking_tau[-2] > found.ranking_tau[0] + 0.1
    # The limit is near the jackknife's, which takes the same bias out in another way.
    jackknife = mutual_information_interval(tables)
    assert found.mi_bits_endless < found.mi_bits_plugin[-1]
    assert abs(found.mi_bits_endless - jackknife.mi_bits) < jackknife.standard_error


def test_independent_documents_have_no_information_in_the_end():
    rng = np.random.default_rng(6)
    tables, loads, size = documents(rng, 200, taste=0.0, coupling=0.0)
    found = sample_size(loads, size, rng, tables=tables, draws=40)
    assert found.mi_bits_plugin[0] > 0.05
    assert abs(found.mi_bits_endless) < 0.003


def test_a_curve_that_still_falls_is_noted():
    rng = np.random.default_rng(7)
    tables = rng.multinomial(6, np.full(400, 1 / 400), 64).reshape(64, 20, 20)
    found = sample_size(tables.sum(axis=1), np.full(64, 6), rng, tables=tables)
    assert "information" in found.note


def test_few_groups_and_none():
    _, loads, size = documents(np.random.default_rng(8), 20)
    assert "approximate" in sample_size(loads, size, np.random.default_rng(0)).note
    few = sample_size(loads[:7], size[:7], np.random.default_rng(0))
    assert "8 groups" in few.reason
    assert few.load is None
    assert "got 0" in sample_size(loads * 0, size * 0, np.random.default_rng(0)).reason


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda l, s: {"loads": l[:-1], "tokens": s}, "align"),
        (lambda l, s: {"loads": l + 999, "tokens": s}, "more uses"),
        (lambda l, s: {"loads": l, "tokens": s, "tables": l}, "tables"),
        (lambda l, s: {"loads": l, "tokens": s, "draws": 0}, "draws"),
        (lambda l, s: {"loads": l, "tokens": s, "load_target": 0.0}, "targets"),
    ],
)
def test_bad_input_is_refused(change, says):
    _, loads, size = documents(np.random.default_rng(9), 12)
    with pytest.raises(RoutestatError, match=says):
        sample_size(**change(loads, size), rng=np.random.default_rng(0))


def test_widths_of_groups_too_unequal_for_an_interval_are_called_rough():
    # One group holds 1,000 of 1,630 tokens: 64 groups are worth 1 / ((1000**2 + 63 * 10**2) / 1630**2) = 2.64.
    size = np.array([1000] + [10] * 63)
    uses = np.random.default_rng(9).binomial(size, 0.5)
    found = sample_size(np.column_stack([uses, size - uses]), size, np.random.default_rng(0))
    assert "up to 64 groups are so unequal that they are worth fewer than 3 of one size" in found.note
    alike = np.full(64, 10)
    uses = np.random.default_rng(9).binomial(alike, 0.5)
    alike_found = sample_size(np.column_stack([uses, alike - uses]), alike, np.random.default_rng(0))
    assert "unequal" not in (alike_found.note or "")
