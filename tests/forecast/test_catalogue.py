"""The registry of predictors: its entries agree with each other, and a new one is scored in either view."""

import numpy as np
import pytest

from routestat import Context, RoutestatError, count
from routestat.counting.predictor_scores import LinearPredictor
from routestat.forecast import catalogue
from routestat.forecast.board import further_tables, mean_board, state_board
from routestat.forecast.designs import plan_target, tempered_specs
from routestat.forecast.factorised_fit import fit_factorised
from routestat.forecast.linear_predictors import popularity
from routestat.forecast.specification import LinearForm, PredictorSpec, TemperedModel, given
from routestat.traces.metadata import routers_like
from routestat.traces.synthetic import chain, expert_chain, to_trace

TWO_BACK = Context.token(2)


def two_tokens_back(tables):
    """The mean over the experts of the token before the previous one of P(j | i)."""
    inclusion = tables.inclusion(TWO_BACK)
    sources = tables.sources(TWO_BACK)
    nothing = np.zeros((len(inclusion), tables.target.n_experts))
    weights = inclusion / sources[0][0].top_k
    return LinearPredictor(
        "two-back", tables.target, sources, nothing, weights, "inclusion", popularity(tables)
    )


@pytest.fixture
def registered(monkeypatch):
    scratch = (
        PredictorSpec("two-back", "a scratch predictor", "scratch", states=given(TWO_BACK),
                      experts=LinearForm((TWO_BACK,), two_tokens_back)),
        PredictorSpec("two-back-ridge", "another", "ridge", experts=TemperedModel(TWO_BACK, "ridge", "two-back"),
                      memory=True),
    )  # fmt: skip
    monkeypatch.setattr(catalogue, "PREDICTORS", (*catalogue.PREDICTORS, *scratch))


def test_every_predictor_has_a_name_words_and_a_registered_fallback():
    specs = {spec.name: spec for spec in catalogue.PREDICTORS}
    assert len(specs) == len(catalogue.PREDICTORS)
    for spec in specs.values():
        assert spec.words
        assert spec.states or spec.experts
        if isinstance(spec.experts, TemperedModel):
            fallback = specs[spec.experts.fallback].context
            assert set(fallback.sources) <= set(spec.experts.context.sources)
    assert set(catalogue.baselines()) <= set(catalogue.explained()) == set(specs)
    assert len(catalogue.memory_models()) == sum(spec.memory for spec in specs.values())


def test_a_family_holds_what_is_fitted_alike_and_baselines_stand_alone():
    assert catalogue.family("layers-4-ridge") == catalogue.family("layer-1-previous-token-ridge") == "ridge"
    assert catalogue.family("previous-token") == "previous-token"
    assert catalogue.family("not registered") == "not registered"


def test_a_new_predictor_is_on_the_board_of_the_state_view(registered):
    shape = {"n_experts": 6, "top_k": 2, "layers": 3, "documents": 30, "mean_length": 60}
    trace = to_trace(chain(coupling=0.7, rng=np.random.default_rng(1), **shape))
    counts = count(trace)
    beside = further_tables(trace, counts)
    assert {name for _, name in beside} == {router.name for router in counts.routers}
    board = {score.predictor: score for score in mean_board(state_board(counts, beside=beside))}
    assert board["two-back"].source == -1
    # The mean is over the layers that all predictors have: the first has no layer before.
    table = sum(beside[TWO_BACK, router.name] for router in counts.routers[1:])
    assert board["two-back"].sums[:, 0] == pytest.approx(table.sum(axis=(1, 2)))
    assert board["two-back"].estimate("log_loss_bits").value > 0
    with pytest.raises(RoutestatError, match="token-2 was not counted"):
        state_board(counts)


def test_a_new_predictor_is_on_the_board_of_the_expert_view(registered):
    shape = {"n_experts": 8, "top_k": 2, "layers": 3, "documents": 20, "mean_length": 40}
    trace = to_trace(expert_chain(coupling=1.0, stickiness=0.6, rng=np.random.default_rng(2), **shape))
    board, model = fit_factorised(trace, count(trace, states="expert"))
    mean = {score.predictor: score for score in mean_board(board)}
    for name in ("two-back", "two-back-ridge"):
        np.testing.assert_allclose(mean[name].sums[:, 0], mean["popularity"].sums[:, 0])
        assert (
            mean[name].estimate("log_loss_bits").value != mean["popularity"].estimate("log_loss_bits").value
        )
    assert catalogue.memory_models()["token-2"] == "two-back-ridge"
    # The chain's own models are of consecutive layers only.
    assert {order for _, order in model.bias} == {0, 1, 2}


def test_models_share_a_design_where_sources_begin_alike():
    routers = routers_like(range(6), 8, 2)
    plan = plan_target(routers, 5, tempered_specs())
    layers = tuple((routers[at], 0) for at in (4, 3, 2, 1))
    previous, second = (routers[5], 1), (routers[5], 2)
    assert [design.sources for design in plan.designs] == [
        layers,
        (previous, layers[0]),
        (previous, second),
    ]
    widths = {model.name: (model.design, model.width) for model in plan.models}
    assert widths["layers-2-ridge"] == (0, 2)
    # What needs the token before the previous one is known for fewer tokens.
    assert widths["previous-token-factorised"] == (1, 1)
    assert plan.chain == 0


def test_the_first_layers_have_what_there_is():
    routers = routers_like(range(6), 8, 2)
    first, third = (plan_target(routers, place, tempered_specs()) for place in (0, 2))
    assert {model.name for model in first.models} == {
        "previous-token-tempered-bayes",
        "previous-token-factorised",
        "previous-two-tokens-factorised",
    }
    assert first.chain == -1
    assert {model.name: model.width for model in third.models}["layers-4-ridge"] == 2


def test_fewer_orders_and_fallbacks_that_are_left_out():
    routers = routers_like(range(6), 8, 2)
    names = {spec.name for spec in tempered_specs([1, 4])}
    assert "layers-2-ridge" not in names
    plan = plan_target(routers, 5, tempered_specs([1, 4]))
    assert {m.name: m.fallback for m in plan.models}["layers-4-ridge"] == "layer-1-ridge"
    for orders in ([], [3], [0]):
        with pytest.raises(
            RoutestatError, match=r"orders: expected layers back of the registered ones, 1, 2, 4"
        ):
            tempered_specs(orders)
