"""`chain`, and the scores of predictors."""

from routestat.forecast.scores import SCORES, PredictionScore
from routestat.inference.markov.chain import Chain
from routestat.report.records.plain import Record, reason


def chain_record(chain: Chain) -> Record:
    """Return `chain`."""
    why = (
        "" if chain.states == "subset" else "the k·k cells of a token are not independent draws: no evidence"
    )
    second = [step.fitted if step else None for step in chain.second]
    return {
        "order": chain.order,
        "orders": list(chain.orders),
        "alpha": chain.alpha,
        "concentration": list(chain.concentration),
        "strength_order_2": [fitted.strength if fitted else None for fitted in second],
        "discount_order_2": [fitted.discount if fitted else None for fitted in second],
        "design_effect": list(chain.design_effects),
        "log_evidence": chain.log_evidence,
        **reason(why),
    }


def score_record(score: PredictionScore) -> Record:
    """Return an item of `prediction[]`: one predictor at one layer."""
    record: Record = {
        "predictor": score.predictor,
        "source": score.source if score.source >= 0 else None,
        "target": score.target if score.target >= 0 else None,
        "router": score.router or None,
        "horizon": score.horizon,
        "n_tokens": score.n_tokens,
    }
    reasons = []
    for name in SCORES:
        estimate = score.estimate(name)
        record[name] = estimate.value
        record[name + "_ci95"] = [estimate.low, estimate.high]
        reasons.append(estimate.reason)
    return record | reason(*reasons)
