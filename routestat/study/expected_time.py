"""What the stages of a study take, so that its progress is that of the whole run."""

from collections.abc import Collection

from routestat.counting.counts import Counts
from routestat.forecast.specification import BoardPlan
from routestat.study.contexts import MOST_ROWS


def expected_seconds(
    counts: Counts, parts: Collection[str], plan: BoardPlan | None = None, triples: bool = False
) -> dict[str, float]:
    """Return the seconds that each stage of a study and of its report is expected to take.

    They were measured on two slow cores with two or three traces of each view; what matters are their ratios.

    Parameters
    ----------
    counts : Counts
    parts : collection of str
        What will be computed.
    plan : BoardPlan, optional
        How predictors are fitted; one layer ahead by default.
    triples : bool
        Whether three consecutive layers are counted.

    Returns
    -------
    dict of str to float
        By the name that a stage has in its progress.
    """
    layers = len(counts.routers)
    tokens = counts.n_tokens * layers / 1e7
    # Wider tables have fewer groups, so that what is done with them grows with the experts only.
    widths, cubes = (sum((router.n_experts / 64) ** power for router in counts.routers) for power in (1, 3))
    found: dict[str, float] = {"drawing figures": 1.5}
    if counts.states == "subset":
        rows = min(counts.n_tokens, MOST_ROWS) * layers / 1e7
        # Both parts fit contexts, together only once; scores take as long as the fit.
        both = "memory" if "memory" in parts else "prediction"
        fit = 0.1 * layers + 5.0 * rows * (2.0 if "prediction" in parts else 1.0)
        stages = {
            "fitting contexts": (both, fit),
            "scoring predictors": ("prediction", 0.02 * layers),
            "measuring the memory": ("memory", 0.03 * layers + 2.0 * rows),
            "following the chain": ("memory", 0.06 * layers),
            "fitting the chain": ("chain", 0.03 * layers),
            "decomposing dependence": ("dependence", 0.05 * layers + 1.2 * rows),
            "mapping pairs of layers": ("layer-map", 0.0025 * layers * layers),
            "testing co-activation": ("coactivation", 0.05 * layers),
        }
    else:
        stages = {
            "counting for predictors": ("prediction", 0.1 * layers + 40.0 * tokens),
            "fitting predictors": ("prediction", 0.2 * layers + 30.0 * tokens + 0.025 * cubes),
            "scoring predictors": ("prediction", 0.02 * layers + 30.0 * tokens),
            "decomposing dependence": ("dependence", 0.06 * widths + 6.0 * tokens),
            "mapping pairs of layers": ("layer-map", 0.012 * layers * widths),
            "testing co-activation": ("coactivation", 0.15 * widths),
        }
    further = len(plan.horizons) - 1 if plan else 0
    ridges = 0.1 * layers + 6.0 * tokens + 0.25 * widths
    stages["ridge regression"] = ("prediction", ridges * (1.0 + 0.2 * further))
    # What is computed on request takes the longest by far.
    wide = counts.states == "expert"
    if plan and plan.similar:
        stages["scoring similar tokens"] = ("prediction", (800.0 if wide else 28.0) * tokens)
    if plan and plan.network:
        stages["training the network"] = ("prediction", (2000.0 if wide else 300.0) * tokens)
    stages["checking the tests on data without an effect"] = ("level-checks", 3.0)
    stages["building the graph of transitions"] = ("paths", 0.5 + 0.01 * layers + 0.01 * widths)
    stages["measuring specialisation"] = ("specialisation", 0.02 * layers + 2.5 * tokens)
    part_of_rows = 1.2e-7 * min(counts.n_tokens, 500_000) * layers
    stages["testing windows"] = ("windows", 0.05 * layers if wide else part_of_rows)
    stages["finding blocks"] = ("blocks", 0.04 * layers)
    stages["following experts over the depth"] = ("modules", 0.003 * layers)
    routes = 0.05 * layers + 2.0 * tokens if counts.states == "subset" else 0.005 * layers
    stages["finding routes"] = ("paths", routes)
    if counts.states == "expert":
        stages["finding routes through experts"] = ("paths", 0.5 + 0.05 * layers + 10.0 * tokens)
    if triples and layers > 2:
        found["counting three layers"] = 0.15 * layers + (25.0 if wide else 4.0) * tokens
    return found | {name: cost for name, (part, cost) in stages.items() if part in parts and layers > 1}
