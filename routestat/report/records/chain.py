"""`chain`: the fitted chain."""

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
