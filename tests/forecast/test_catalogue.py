"""The registry of predictors: its entries agree with each other, and a new one is scored in either view."""

import numpy as np
import pytest

from routestat import Context, RoutestatError
from routestat.counting.predictor_scores import LinearPredictor
from routestat.forecast import catalogue
from routestat.forecast.board import make_board, mean_board
from routestat.forecast.designs import plan_target, tempered_specs
from routestat.forecast.factorised_fit import fit_linear
from routestat.forecast.linear_predictors import popularity
from routestat.forecast.specification import INPUTS, LinearForm, PredictorSpec, TemperedModel
from routestat.traces.metadata import routers_like
from routestat.traces.synthetic import chain, expert_chain, to_trace
from tests.board_cases import rows_of

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


FORM = LinearForm((TWO_BACK,), two_tokens_back)
SCRATCH = (
    PredictorSpec("two-back", "a scratch predictor", "scratch", ("previous",), states=FORM, experts=FORM),
    PredictorSpec(
        "two-back-bayes", "another", "scratch", ("previous",),
        experts=TemperedModel(TWO_BACK, "tempered-bayes", "two-back"), memory=True,
    ),
)  # fmt: skip


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(catalogue, "PREDICTORS", (*catalogue.PREDICTORS, *SCRATCH))


def test_every_predictor_has_a_name_words_known_inputs_and_a_registered_fallback():
    specs = {spec.name: spec for spec in catalogue.PREDICTORS}
    assert len(specs) == len(catalogue.PREDICTORS)
    for spec in specs.values():
        assert spec.words
        assert set(spec.inputs) <= set(INPUTS)
        assert spec.states or spec.experts
        if isinstance(spec.experts, TemperedModel):
            fallback = specs[spec.experts.fallback].context
            assert set(fallback.sources) <= set(spec.experts.context.sources)
    assert set(catalogue.baselines()) <= set(catalogue.explained()) == set(specs)
    assert len(catalogue.memory_models()) == sum(spec.memory for spec in specs.values())


def test_baselines_are_those_that_look_at_no_routing_of_other_layers():
    assert catalogue.baselines() == (
        "uniform", "popularity", "repeat-previous-token", "previous-token", "previous-two-tokens", "token-id",
        "token-id-cache",
    )  # fmt: skip
    # All layers of the previous token are routing of other layers.
    assert not catalogue.specification("ridge-previous-token").baseline


def test_a_family_holds_what_is_fitted_alike():
    assert catalogue.family("ridge-4") == catalogue.family("ridge-all-token-id") == "ridge"
    assert catalogue.family("not registered") == "not registered"


@pytest.mark.parametrize("view", ["subset", "expert"])
def test_a_new_predictor_is_on_the_board(registered, view):
    shape = {"n_experts": 8, "top_k": 2, "layers": 3, "documents": 20, "mean_length": 40}
    made = chain(coupling=0.7, rng=np.random.default_rng(1), **shape) if view == "subset" else None
    made = made or expert_chain(coupling=1.0, stickiness=0.6, rng=np.random.default_rng(2), **shape)
    rows = rows_of(to_trace(made))
    board = make_board(rows, view, specs=catalogue.PREDICTORS)
    mean = {score.predictor: score for score in mean_board(board)}
    for name in ("two-back", *(["two-back-bayes"] if view == "expert" else [])):
        assert mean[name].source == -1
        np.testing.assert_allclose(mean[name].sums[:, 0], mean["popularity"].sums[:, 0])
        assert (
            mean[name].estimate("log_loss_bits").value != mean["popularity"].estimate("log_loss_bits").value
        )
    assert catalogue.memory_models()["token-2"] == "two-back-bayes"
    # The chain's own models are of consecutive layers only.
    _, model = fit_linear(rows, catalogue.PREDICTORS, "expert")
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
    assert widths["layers-2-factorised"] == (0, 2)
    # What needs the token before the previous one is known for fewer tokens.
    assert widths["previous-token"] == (1, 1)
    assert plan.chain == 0


def test_the_first_layers_have_what_there_is():
    routers = routers_like(range(6), 8, 2)
    first, third = (plan_target(routers, place, tempered_specs()) for place in (0, 2))
    assert {model.name for model in first.models} == {
        "previous-token",
        "previous-two-tokens",
    }
    assert first.chain == -1
    assert {model.name: model.width for model in third.models}["layers-4-factorised"] == 2


def test_fewer_orders_and_fallbacks_that_are_left_out():
    routers = routers_like(range(6), 8, 2)
    names = {spec.name for spec in tempered_specs([1, 4])}
    assert "layers-2-factorised" not in names
    plan = plan_target(routers, 5, tempered_specs([1, 4]))
    assert {m.name: m.fallback for m in plan.models}["layers-4-factorised"] == "layer-1-factorised"
    for orders in ([], [3], [0]):
        with pytest.raises(
            RoutestatError, match=r"orders: expected layers back of the registered ones, 1, 2, 4"
        ):
            tempered_specs(orders)
