"""The registry of predictors: the one place where they are named, explained and assigned to families.

To add a predictor, write it in a file of this package and add its line to `PREDICTORS`. The board, results.json,
the tables, the terminal and the page take it from here; with `memory` the log losses by context do as well.
"""

from routestat.counting.context import Context
from routestat.forecast.linear_predictors import (
    layer_mean,
    layer_naive_bayes,
    popularity,
    repeat_previous_token,
)
from routestat.forecast.scores import score_uniform
from routestat.forecast.specification import (
    BoardPlan,
    ClosedForm,
    ContextForm,
    GateForm,
    LinearForm,
    NetworkForm,
    PredictorSpec,
    RidgeForm,
    SimilarTokensForm,
    TemperedModel,
    TokenCacheForm,
    TokenForm,
)

_UNIFORM = ClosedForm(lambda tokens, target: score_uniform(tokens, target.n_experts, target.top_k))
_NOTHING, _TOKEN, _TOKENS = Context(), Context.token(1), Context.token(2, 1)
_LAYER, _LAYERS_2, _LAYERS_4 = Context.layer(1), Context.layer(2, 1), Context.layer(4, 3, 2, 1)
_BOTH = Context(((-1, 0), (0, -1)))
_REPEAT = LinearForm((_NOTHING,), repeat_previous_token)
_BAYES = LinearForm((_NOTHING, _LAYER), layer_naive_bayes)
_FACTORISED = "factorised"
_LOAD, _PREVIOUS, _ID, _LAYERS = ("load",), ("previous",), ("token id",), ("layers",)
_ALL = ("layers", "previous layers")
_RIDGES = [RidgeForm(layers) for layers in (1, 2, 4)]
_RIDGE_BEFORE, _RIDGE_ALL = RidgeForm(0, previous=True), RidgeForm(-1, previous=True)
_RIDGE_TOKEN = RidgeForm(-1, previous=True, tokens=True)

#: Every predictor, in the order of the board.
PREDICTORS: tuple[PredictorSpec, ...] = (
    PredictorSpec(
        "uniform", "k experts drawn uniformly at random", "uniform", (), states=_UNIFORM, experts=_UNIFORM,
    ),
    PredictorSpec(
        "popularity", "the most used experts of the layer itself", "load", _LOAD,
        states=ContextForm(()), experts=LinearForm((_NOTHING,), popularity), memory=True,
    ),
    PredictorSpec(
        "repeat-previous-token", "the experts that the previous token had in the same layer", "repeat", _PREVIOUS,
        states=_REPEAT, experts=_REPEAT,
    ),
    PredictorSpec(
        "previous-token", "what usually follows the choice of the previous token in the same layer", "previous token",
        _PREVIOUS, states=ContextForm(("token-1",)), experts=TemperedModel(_TOKEN, _FACTORISED), memory=True,
    ),
    PredictorSpec(
        "previous-two-tokens", "the same, after the choices of the previous two tokens", "previous token", _PREVIOUS,
        states=ContextForm(("token-1", "token-2")), experts=TemperedModel(_TOKENS, _FACTORISED, "previous-token"),
        memory=True,
    ),
    PredictorSpec(
        "token-id", "what the layer usually chooses for the token's id", "token id", _ID,
        states=ContextForm(("token id",)), experts=TokenForm(),
    ),
    PredictorSpec(
        "token-id-cache", "the ids of the latest tokens, and the layer's choices after them earlier in the document",
        "token id", ("token id", "previous"), states=TokenCacheForm(), experts=TokenCacheForm(),
    ),
    PredictorSpec(
        "layer-1", "chain of order 1: what usually follows the choice of the layer before", "chain", _LAYERS,
        states=ContextForm(("layer-1",)), experts=LinearForm((_LAYER,), layer_mean, layer_mean), ahead=True,
    ),
    PredictorSpec(
        "layers-2", "chain of order 2", "chain", _LAYERS, states=ContextForm(("layer-1", "layer-2")),
    ),
    PredictorSpec(
        "layers-3", "chain of order 3", "chain", _LAYERS, states=ContextForm(("layer-1", "layer-2", "layer-3")),
    ),
    PredictorSpec(
        "layers-4", "chain of order 4", "chain", _LAYERS,
        states=ContextForm(("layer-1", "layer-2", "layer-3", "layer-4")), brief=False,
    ),
    PredictorSpec(
        "layer-1-previous-token", "the layer before and the previous token's choice in the same layer", "chain",
        ("layers", "previous"), states=ContextForm(("layer-1", "token-1")),
    ),
    PredictorSpec(
        "layer-1-token-id", "the layer before and the token id", "chain", ("layers", "token id"),
        states=ContextForm(("layer-1", "token id")),
    ),
    PredictorSpec(
        "layer-1-token-id-previous-token", "the layer before, the token id and the previous token's choice", "chain",
        ("layers", "token id", "previous"), states=ContextForm(("layer-1", "token id", "token-1")),
    ),
    PredictorSpec(
        "layer-1-naive-bayes", "log-lift naive Bayes on the experts of the layer before", "naive Bayes", _LAYERS,
        states=_BAYES, experts=_BAYES,
    ),
    PredictorSpec(
        "layer-1-tempered-bayes", "the same, with exponents that correct for experts that occur together",
        "naive Bayes", _LAYERS, experts=TemperedModel(_LAYER, "tempered-bayes"), brief=False,
    ),
    PredictorSpec(
        "layer-1-factorised", "factorised chain of order 1: tempered naive Bayes and ridge together", "factorised",
        _LAYERS, experts=TemperedModel(_LAYER, _FACTORISED), memory=True,
    ),
    PredictorSpec(
        "layers-2-factorised", "factorised chain of order 2", "factorised", _LAYERS,
        experts=TemperedModel(_LAYERS_2, _FACTORISED, "layer-1-factorised"), memory=True,
    ),
    PredictorSpec(
        "layers-4-factorised", "factorised chain of order 4", "factorised", _LAYERS,
        experts=TemperedModel(_LAYERS_4, _FACTORISED, "layers-2-factorised"), memory=True,
    ),
    PredictorSpec(
        "layer-1-previous-token-factorised", "factorised chain on the layer before and the previous token",
        "factorised", ("layers", "previous"), experts=TemperedModel(_BOTH, _FACTORISED, "layer-1-factorised"),
        memory=True,
    ),
    PredictorSpec(
        "ridge-previous-token", "ridge regression on all layers of the previous token", "ridge",
        ("previous", "previous layers"), states=_RIDGE_BEFORE, experts=_RIDGE_BEFORE, brief=False,
    ),
    PredictorSpec(
        "ridge-1", "ridge regression on the experts of the layer before", "ridge", _LAYERS,
        states=_RIDGES[0], experts=_RIDGES[0], ahead=True, brief=False,
    ),
    PredictorSpec(
        "ridge-2", "ridge regression on the last two layers", "ridge", _LAYERS,
        states=_RIDGES[1], experts=_RIDGES[1], brief=False,
    ),
    PredictorSpec(
        "ridge-4", "ridge regression on the last four layers", "ridge", _LAYERS,
        states=_RIDGES[2], experts=_RIDGES[2], ahead=True, brief=False,
    ),
    PredictorSpec(
        "ridge-all", "ridge regression on everything before: all earlier layers, and all layers of the previous token",
        "ridge", (*_ALL, "previous"), states=_RIDGE_ALL, experts=_RIDGE_ALL, ahead=True,
    ),
    PredictorSpec(
        "ridge-all-token-id", "the same, and the ids of the token and of the previous one", "ridge",
        (*_ALL, "previous", "token id"), states=_RIDGE_TOKEN, experts=_RIDGE_TOKEN, ahead=True,
    ),
    PredictorSpec(
        "similar-tokens", "tokens with similar routing so far, with the same id where ids are known", "similar tokens",
        (*_ALL, "previous", "token id"), states=SimilarTokensForm(), experts=SimilarTokensForm(),
    ),
    PredictorSpec(
        "network", "a small neural network on everything before, with the token ids where they are known", "network",
        (*_ALL, "previous", "token id"), states=NetworkForm(), experts=NetworkForm(),
    ),
    PredictorSpec(
        "gate", "the layer's own gate, applied to the hidden state of an earlier layer", "gate", ("gate",),
        states=GateForm(), experts=GateForm(), ahead=True,
    ),
)  # fmt: skip


def predictors(plan: BoardPlan) -> tuple[PredictorSpec, ...]:
    """Return the predictors of a plan: all, or those of a report."""
    return tuple(spec for spec in PREDICTORS if spec.brief or not plan.brief)


def baselines() -> tuple[str, ...]:
    """Return the names of the predictors that look at no routing of other layers: any useful one has to beat them."""
    return tuple(spec.name for spec in PREDICTORS if spec.baseline)


def explained() -> dict[str, str]:
    """Return what each predictor predicts from, in words, by name."""
    return {spec.name: spec.words for spec in PREDICTORS}


def family(name: str) -> str:
    """Return the family of a predictor; a name that is not registered is a family of its own."""
    return next((spec.family for spec in PREDICTORS if spec.name == name), name)


def specification(name: str) -> PredictorSpec:
    """Return a registered predictor by its name."""
    return next(spec for spec in PREDICTORS if spec.name == name)


def memory_models() -> dict[str, str]:
    """Return the predictor behind each context of the expert view's memory, by the name of the context."""
    return {spec.context.name: spec.name for spec in PREDICTORS if spec.memory and spec.context is not None}
