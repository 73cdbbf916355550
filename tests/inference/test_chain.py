import numpy as np
import pytest
from scipy import stats

from routestat import RoutestatError, fit_chain
from routestat.inference.ratio import ratio
from routestat.report.chain_file import load_chain, save_chain

FIRST = [3, 1, 0]
GAPS = [np.array([[2, 1, 0], [0, 0, 1], [0, 0, 0]]), np.array([[1, 1], [0, 1], [1, 0]])]
SHAPES = {"layers": [2, 3, 5], "n_experts": [3, 3, 2], "top_k": [1, 1, 1]}


def test_posterior_means_by_hand():
    chain = fit_chain(FIRST, GAPS, 0.5, **SHAPES)
    np.testing.assert_allclose(chain.initial, np.array([3.5, 1.5, 0.5]) / 5.5)
    np.testing.assert_allclose(chain.transitions[0][0], np.array([2.5, 1.5, 0.5]) / 4.5)
    np.testing.assert_allclose(chain.transitions[0][2], [1 / 3] * 3)  # never seen: the prior alone
    assert chain.concentration == (1.5, 1.0)


def test_log_evidence_is_the_product_of_polya_urns():
    # Row (2, 1, 0) with alpha 1/2 on 3: (.5/1.5)(1.5/2.5)(.5/3.5); row (0, 0, 1): .5/1.5; second gap, alpha 1/2
    # on 2: rows (1, 1): (.5/1)(.5/2); (0, 1): .5; (1, 0): .5.
    by_hand = np.log((0.5 / 1.5) * (1.5 / 2.5) * (0.5 / 3.5) * (0.5 / 1.5) * (0.5 * 0.25) * 0.5 * 0.5)
    assert fit_chain(FIRST, GAPS, 0.5, **SHAPES).log_evidence == pytest.approx(by_hand)


def test_credible_intervals_are_the_beta_margins():
    prediction = fit_chain(FIRST, GAPS, 1.0, **SHAPES).predict(2, 0, level=0.9)
    assert prediction.n_tokens == 3
    for j, count in enumerate([2, 1, 0]):
        law = stats.beta(1 + count, 3 + 3 - 1 - count)
        assert prediction.probability[j] == pytest.approx(law.mean())
        assert (prediction.low[j], prediction.high[j]) == pytest.approx((law.ppf(0.05), law.ppf(0.95)))


def test_an_expert_chain_predicts_inclusion():
    # 4 experts, top 2. Of 10 tokens all had experts 0 and 1, then always 2 and 3: each cell counts 10.
    table = np.zeros((4, 4), int)
    table[np.ix_([0, 1], [2, 3])] = 10
    shape = {"layers": [0, 1], "n_experts": [4, 4], "top_k": [2, 2]}
    chain = fit_chain([10, 10, 0, 0], [table], 0.25, states="expert", **shape)
    prediction = chain.predict(0, [1, 0])
    np.testing.assert_allclose(prediction.probability, 2 * np.array([0.25, 0.25, 10.25, 10.25]) / 21)
    assert prediction.probability.sum() == pytest.approx(2)
    assert prediction.n_tokens == 10
    assert (prediction.low >= 0).all()
    assert (prediction.high <= 1).all()
    assert (prediction.low < prediction.probability).all()
    assert np.isnan(chain.log_evidence)


@pytest.mark.parametrize(
    ("layer", "source", "message"),
    [
        (7, 0, "layer 7 is not in this chain; its layers are 2, 3, 5"),
        (5, 0, "layer 5 is the chain's last"),
        (2, 3, "state 3 is out of range: layer 2 has 0 … 2"),
        (2, -1, "out of range"),
    ],
)
def test_what_cannot_be_asked_is_said(layer, source, message):
    with pytest.raises(RoutestatError, match=message):
        fit_chain(FIRST, GAPS, 0.5, **SHAPES).predict(layer, source)


@pytest.mark.parametrize("alpha", [0, -1.0, "flat"])
def test_an_impossible_prior_is_refused(alpha):
    with pytest.raises(RoutestatError, match="alpha"):
        fit_chain(FIRST, GAPS, alpha, **SHAPES)


def test_tables_must_chain_up():
    with pytest.raises(RoutestatError, match="L − 1 tables"):
        fit_chain(FIRST, GAPS[::-1], 0.5, **SHAPES)


@pytest.mark.parametrize("alpha", [0.5, "empirical-bayes", 1e-7])
def test_a_chain_is_saved_and_loaded_whole(tmp_path, alpha):
    chain = fit_chain(FIRST, GAPS, alpha, **SHAPES)
    save_chain(chain, tmp_path / "chain.npz")
    again = load_chain(tmp_path / "chain.npz")
    assert (again.states, again.layers, again.n_experts, again.top_k) == (
        "subset",
        (2, 3, 5),
        (3, 3, 2),
        (1, 1, 1),
    )
    assert again.alpha == chain.alpha
    for a, b in zip(
        (chain.first, *chain.counts, *chain.priors), (again.first, *again.counts, *again.priors), strict=True
    ):
        assert np.array_equal(a, b)


def test_a_file_that_is_no_chain_is_refused_and_nothing_is_unpickled(tmp_path):
    for content in (b"", b"PK\x03\x04rubbish", b"text"):
        (tmp_path / "c.npz").write_bytes(content)
        with pytest.raises(RoutestatError, match="not a chain"):
            load_chain(tmp_path / "c.npz")
    np.savez(tmp_path / "c.npz", version=np.array([{"a": 1}], dtype=object))
    with pytest.raises(RoutestatError, match="not a chain"):
        load_chain(tmp_path / "c.npz")
    np.savez(tmp_path / "c.npz", version=np.array(99))
    with pytest.raises(RoutestatError, match="chain version 99"):
        load_chain(tmp_path / "c.npz")


def test_ratio_intervals_cover_on_unequal_groups():
    rng = np.random.default_rng(0)
    inside = 0
    runs = 400
    for _ in range(runs):
        size = rng.geometric(1 / 50, 60)
        rate = rng.beta(2, 6, 60)
        estimate = ratio(rng.binomial(size, rate), size)
        inside += estimate.low < 0.25 < estimate.high
    assert 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs) < inside / runs <= 0.99


def test_ratio_without_spread_or_tokens_says_why():
    assert ratio([1.0], [2.0]).value == 0.5
    assert "one group" in ratio([1.0], [2.0]).reason
    assert "no tokens" in ratio([0.0, 0.0], [0.0, 0.0]).reason
