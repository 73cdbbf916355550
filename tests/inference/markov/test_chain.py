import numpy as np
import pytest
from scipy import stats

import routestat
from routestat import Context, RoutestatError, Trace, TraceMeta, count, fit_chain, transition_posterior
from routestat.inference.smoothing.design_effect import transition_design_effect
from routestat.study.chain_file import load_chain, save_chain
from routestat.traces.metadata import routers_like

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
    for j, n in enumerate([2, 1, 0]):
        distribution = stats.beta(1 + n, 3 + 3 - 1 - n)
        assert prediction.probability[j] == pytest.approx(distribution.mean())
        assert (prediction.low[j], prediction.high[j]) == pytest.approx(
            (distribution.ppf(0.05), distribution.ppf(0.95))
        )


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
def test_what_cannot_be_predicted_is_refused(layer, source, message):
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


@pytest.fixture(scope="module")
def counted():
    """Documents that repeat each of their tokens four times: worth a quarter of them or less."""
    rng = np.random.default_rng(3)
    document = np.repeat(np.arange(40), 80)
    first = rng.integers(0, 6, (40, 20)).repeat(4, axis=1).ravel()
    second = np.where(rng.random((40, 20)).repeat(4, axis=1).ravel() < 0.5, first, (first + 1) % 6)
    meta = TraceMeta(routers_like([4, 7], 4, 2))
    return count(Trace.from_arrays(meta, document, None, np.stack([first, second], 1).astype(np.uint8)))


def test_counts_hold_all_that_a_chain_is_fitted_from(counted):
    chain = fit_chain(counted)
    tables = counted.table(Context.layer(1), counted.routers[1])
    first = counted.table(Context(), counted.routers[0])
    shape = {"layers": [4, 7], "n_experts": [4, 4], "top_k": [2, 2]}
    summed = fit_chain(first.sum(axis=0), [tables.sum(axis=0)], **shape)
    grouped = fit_chain(first, [tables], **shape)
    assert np.array_equal(chain.counts[0], summed.counts[0])
    assert np.array_equal(chain.transition(0), summed.transition(0))
    assert chain.layers == (4, 7)
    # Four equal tokens are one: the variance is four times that of independent tokens.
    assert chain.design_effects == grouped.design_effects == (transition_design_effect(tables),)
    assert 3.0 < chain.design_effects[0] < 5.0
    assert fit_chain(counted, alpha="perks", design_effects=[1.0]).design_effects == (1.0,)
    assert fit_chain(counted, alpha="perks").alpha == "perks"


def test_intervals_of_groups_are_wider_and_those_of_sums_say_that_they_are_not(counted):
    chain = fit_chain(counted)
    tables = counted.table(Context.layer(1), counted.routers[1])
    plain = fit_chain(counted, design_effects=[1.0])
    careful, narrow = chain.predict(4, 2), plain.predict(4, 2)
    assert np.array_equal(careful.probability, narrow.probability)
    ratio = (careful.high - careful.low)[2:4] / (narrow.high - narrow.low)[2:4]
    np.testing.assert_allclose(ratio, np.sqrt(chain.design_effects[0]), rtol=0.05)
    assert (careful.note, chain.note) == ("", "")
    for said in (narrow.note, plain.note, plain.posterior(0).note, repr(narrow)):
        assert "take tokens as independent" in said
    # All ways to the same posterior: of the chain, of its prediction, of the function on tables.
    low, high = chain.posterior(0).interval()
    posterior = transition_posterior(tables, "empirical-bayes", grouped=True)
    np.testing.assert_allclose(low[2], careful.low)
    np.testing.assert_allclose(high[2], careful.high)
    np.testing.assert_allclose(posterior.interval(), (low, high))
    assert posterior.design_effect == chain.design_effects[0]


def test_counts_are_not_mixed_with_tables(counted):
    with pytest.raises(RoutestatError, match="give only alpha="):
        fit_chain(counted, "perks")
    with pytest.raises(RoutestatError, match="give only alpha="):
        fit_chain(counted, layers=[4, 7])
    with pytest.raises(RoutestatError, match="2 axes, or 3 with groups first, got 1"):
        fit_chain(FIRST, [[1, 2, 3]], 0.5, layers=[0, 1], n_experts=[3, 3], top_k=[1, 1])


def test_chains_are_loaded_from_a_report_or_a_file_by_public_names(tmp_path, counted):
    chain = routestat.fit_chain(counted)
    routestat.save_chain(chain, str(tmp_path / "chain.npz"))
    for place in (tmp_path, str(tmp_path / "chain.npz")):
        again = routestat.load_chain(place)
        assert again.design_effects == chain.design_effects
        assert np.array_equal(again.predict(4, 2).low, chain.predict(4, 2).low)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RoutestatError, match="empty: not a chain that analyze saved"):
        routestat.load_chain(tmp_path / "empty")
