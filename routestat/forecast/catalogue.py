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
    ClosedForm,
    LinearForm,
    PredictorSpec,
    TablePredictor,
    TemperedModel,
    given,
)

_UNIFORM = ClosedForm(lambda tokens, target: score_uniform(tokens, target.n_experts, target.top_k))
_NOTHING, _TOKEN, _TOKENS = Context(), Context.token(1), Context.token(2, 1)
_LAYER, _LAYERS_2, _LAYERS_4 = Context.layer(1), Context.layer(2, 1), Context.layer(4, 3, 2, 1)
_BOTH = Context(((-1, 0), (0, -1)))
_BAYES, _RIDGE, _FACTORISED = "tempered-bayes", "ridge", "factorised"

#: Every predictor, in the order of the board.
PREDICTORS: tuple[PredictorSpec, ...] = (
    PredictorSpec(
        "uniform", "k experts drawn uniformly at random", "baseline", True,
        states=_UNIFORM, experts=_UNIFORM,
    ),
    PredictorSpec(
        "popularity", "the most used experts of the layer itself", "baseline", True,
        states=given(_NOTHING), experts=LinearForm((_NOTHING,), popularity), memory=True,
    ),
    PredictorSpec(
        "previous-token", "what usually follows the choice of the previous token in the same layer", "baseline", True,
        states=given(_TOKEN),
    ),
    PredictorSpec(
        "repeat-previous-token", "the experts that the previous token had in the same layer", "baseline", True,
        experts=LinearForm((_NOTHING,), repeat_previous_token),
    ),
    PredictorSpec(
        "layer-1", "chain of order 1: what usually follows the choice of the layer before", "chain",
        states=given(_LAYER), experts=LinearForm((_LAYER,), layer_mean),
    ),
    PredictorSpec(
        "layer-1-naive-bayes", "log-lift naive Bayes on the experts of the layer before", "naive-bayes",
        experts=LinearForm((_NOTHING, _LAYER), layer_naive_bayes),
    ),
    PredictorSpec(
        "layer-1-tempered-bayes", "the same, with an exponent that corrects for experts that occur together", _BAYES,
        experts=TemperedModel(_LAYER, _BAYES),
    ),
    PredictorSpec(
        "layer-1-ridge", "ridge regression on the experts of the layer before", _RIDGE,
        experts=TemperedModel(_LAYER, _RIDGE),
    ),
    PredictorSpec(
        "layer-1-factorised", "factorised chain of order 1: tempered naive Bayes and ridge together", _FACTORISED,
        experts=TemperedModel(_LAYER, _FACTORISED), memory=True,
    ),
    PredictorSpec(
        "layers-2-tempered-bayes", "tempered naive Bayes on the last two layers", _BAYES,
        experts=TemperedModel(_LAYERS_2, _BAYES, "layer-1-tempered-bayes"),
    ),
    PredictorSpec(
        "layers-2-ridge", "ridge regression on the last two layers", _RIDGE,
        experts=TemperedModel(_LAYERS_2, _RIDGE, "layer-1-ridge"),
    ),
    PredictorSpec(
        "layers-2-factorised", "factorised chain of order 2", _FACTORISED,
        experts=TemperedModel(_LAYERS_2, _FACTORISED, "layer-1-factorised"), memory=True,
    ),
    PredictorSpec(
        "layers-4-ridge", "ridge regression on the last four layers", _RIDGE,
        experts=TemperedModel(_LAYERS_4, _RIDGE, "layers-2-ridge"),
    ),
    PredictorSpec(
        "layers-4-factorised", "factorised chain of order 4", _FACTORISED,
        experts=TemperedModel(_LAYERS_4, _FACTORISED, "layers-2-factorised"), memory=True,
    ),
    PredictorSpec(
        "previous-token-tempered-bayes", "tempered naive Bayes on the previous token's experts in the same layer",
        _BAYES, experts=TemperedModel(_TOKEN, _BAYES),
    ),
    PredictorSpec(
        "previous-token-factorised", "tempered naive Bayes and ridge on the previous token's experts in the same layer",
        _FACTORISED, experts=TemperedModel(_TOKEN, _FACTORISED), memory=True,
    ),
    PredictorSpec(
        "previous-two-tokens-factorised", "the same on the experts of the previous two tokens", _FACTORISED,
        experts=TemperedModel(_TOKENS, _FACTORISED, "previous-token-factorised"), memory=True,
    ),
    PredictorSpec(
        "layer-1-previous-token-tempered-bayes", "tempered naive Bayes on the layer before and the previous token",
        _BAYES, experts=TemperedModel(_BOTH, _BAYES, "layer-1-tempered-bayes"),
    ),
    PredictorSpec(
        "layer-1-previous-token-ridge", "ridge regression on the layer before and the previous token", _RIDGE,
        experts=TemperedModel(_BOTH, _RIDGE, "layer-1-ridge"),
    ),
    PredictorSpec(
        "layer-1-previous-token-factorised", "factorised chain on the layer before and the previous token", _FACTORISED,
        experts=TemperedModel(_BOTH, _FACTORISED, "layer-1-factorised"), memory=True,
    ),
)  # fmt: skip


def baselines() -> tuple[str, ...]:
    """Return the names of the predictors that any useful one has to beat."""
    return tuple(spec.name for spec in PREDICTORS if spec.baseline)


def explained() -> dict[str, str]:
    """Return what each predictor predicts from, in words, by name."""
    return {spec.name: spec.words for spec in PREDICTORS}


def family(name: str) -> str:
    """Return the family of a predictor; a baseline, or a name that is not registered, is a family of its own."""
    found = {spec.name: spec.family for spec in PREDICTORS if not spec.baseline}
    return found.get(name, name)


def memory_models() -> dict[str, str]:
    """Return the predictor behind each context of the expert view's memory, by the name of the context."""
    return {spec.context.name: spec.name for spec in PREDICTORS if spec.memory and spec.context is not None}


def tables_needed(view: str) -> tuple[Context, ...]:
    """Return the contexts whose tables the predictors of a view read ("subset" or "expert")."""
    forms = (spec.states if view == "subset" else spec.experts for spec in PREDICTORS)
    contexts = (form.contexts for form in forms if isinstance(form, TablePredictor | LinearForm))
    return tuple(dict.fromkeys(context for some in contexts for context in some))
