"""Sentences on placements: the answer first, each with the numbers behind it."""

from collections.abc import Sequence

from routestat.report.numbers import interval, many, number
from routestat.report.records.plain import Record

#: A busiest device that has less than this above the mean leaves little to gain.
NEARLY_EVEN = 0.05
#: An affinity is named after what tokens stay on.
_STAY = {"device_affinity": "device", "node_affinity": "node"}


def placement_sentences(record: Record) -> list[str]:
    """Describe the placements and pins of a plain record of results.json, one sentence or two for each question."""
    placed = {row["objective"]: row for row in record["placements"]}
    said = []
    if "balance" in placed:
        said.append(f"{_balance(placed['balance'])} {optimum_sentence(placed['balance'])}".strip())
    if "affinity" in placed:
        kinds = (
            ("node_affinity", "device_affinity") if record["devices"]["n_nodes"] > 1 else ("device_affinity",)
        )
        said += [_affinity(placed["affinity"], kind) for kind in kinds]
        said[-1] = f"{said[-1]} {optimum_sentence(placed['affinity'])}".strip()
    if len(placed) == 2:
        said.append(_exchange(placed["balance"], placed["affinity"]))
    if "pins" in record:
        said.append(pins_sentence(record["pins"]))
    return [sentence for sentence in said if sentence]


def main_figure(objective: str) -> str:
    """Return the key of the figure that a placement is made for."""
    return "balance" if objective == "balance" else "device_affinity"


def verdict(row: Record, name: str) -> str:
    """Return "better", "worse", "no better" where the interval of a gain includes 0, or "untested" without one."""
    low, high = row[f"{name}_gain_ci95"] or (None, None)
    if row[f"{name}_gain"] is None or low is None or high is None:
        return "untested"
    return "better" if low > 0 else "worse" if high < 0 else "no better"


def interval_words(limits: Sequence[float | None] | None, why: str = "") -> str:
    """Return the limits of an interval in words, or why there is none."""
    low, high = limits or (None, None)
    if low is None or high is None:
        return f"no interval: {why}" if why else "no interval"
    return f"95 % interval {interval(low, high)}"


def _balance(row: Record) -> str:
    if row["balance_gain"] is None:
        return f"What balance gains is not known: {row.get('balance_reason', 'no documents are held out')}."
    even = " The default order is nearly even already." if row["balance_default"] < 1 + NEARLY_EVEN else ""
    return (
        "Balance: on documents that it was not made from, the placement changes the load of the busiest device, as a "
        f"multiple of the mean and averaged over the layers, from {number(row['balance_default'])} in the engines’ "
        f"default order to {number(row['balance_placed'])} ({_gain(row, 'balance')}). {judged(row, 'balance')}{even}"
    )


def _affinity(row: Record, kind: str) -> str:
    where = _STAY[kind]
    if row[f"{kind}_gain"] is None:
        why = row.get(f"{kind}_reason", "no documents are held out")
        return f"What affinity gains by {where} is not known: {why}."
    return (
        f"Affinity: of the pairs of a token’s choices in consecutive layers, {number(row[f'{kind}_placed'])} stay on "
        f"their {where}, where the default order has {number(row[f'{kind}_default'])} ({_gain(row, kind)}). "
        f"{judged(row, kind)} {by_loads_sentence(row, kind)}"
    ).strip()


def by_loads_sentence(row: Record, kind: str) -> str:
    """Return what of an affinity uneven loads explain; empty where that is not known."""
    alone, default = row.get(f"{kind}_placed_by_loads"), row.get(f"{kind}_default_by_loads")
    if alone is None or default is None:
        return ""
    # A tenth of the gain is little beside the rest.
    shared = alone - default > 0.1 * abs(row[f"{kind}_gain"])
    why = (
        f": busy experts share a {_STAY[kind]}"
        if shared
        else ", so that the dependence keeps the others there"
    )
    return (
        f"With these loads and no dependence between layers {number(alone)} would stay ({number(default)} in the "
        f"default order){why}."
    )


def _gain(row: Record, name: str) -> str:
    """Return the gain with its interval, or why there is none."""
    known = interval_words(row[f"{name}_gain_ci95"], row.get(f"{name}_reason", ""))
    return f"gain {number(row[f'{name}_gain'])}, {known}"


def judged(row: Record, name: str) -> str:
    """Return what the interval of a gain shows, in a sentence."""
    return {
        "better": "It is better than the default order.",
        "worse": "It is worse than the default order: keep that one.",
        "no better": "The interval includes 0: the default order is as good.",
        "untested": "Whether that is chance could not be tested.",
    }[verdict(row, name)]


def optimum_sentence(row: Record) -> str:
    """Return how far a placement is from the optimum; empty where that is not known."""
    gap = row["optimality_gap"]
    if gap is None:
        return ""
    if row["is_optimum"] or gap < 5e-4:
        return f"No other placement is better for {row['objective']} on the documents that this one was made from."
    return (
        f"On the documents that it was made from, the placement for {row['objective']} is {number(100 * gap)} % from "
        "the optimum."
    )


def _exchange(balance: Record, affinity: Record) -> str:
    if affinity["device_affinity_gain"] is None or balance["balance_gain"] is None:
        return ""
    return (
        f"Between the two: the placement for affinity has a busiest device with {number(affinity['balance_placed'])} "
        f"times the mean load (default order {number(affinity['balance_default'])}), and the one for balance keeps "
        f"{number(balance['device_affinity_placed'])} of the pairs on their device (default order "
        f"{number(balance['device_affinity_default'])})."
    )


def pins_sentence(pins: Record) -> str:
    """Return what pins serve, and whether a cache of their size serves more."""
    size = f"the {many(pins['capacity'], 'expert')} of each layer that other documents use most"
    if pins["hit_rate"] is None:
        return f"What pinning serves is not known: {pins.get('reason', 'no documents are held out')}."
    said = (
        f"Pins: {size} serve {number(pins['hit_rate'])} of the choices ({interval_words(pins['hit_rate_ci95'])}); as "
        f"many at random would serve {number(pins['uniform_hit_rate'])}"
    )
    if pins["lru_hit_rate"] is None:
        return f"{said}."
    lru = interval_words(pins["lru_hit_rate_ci95"])
    return (
        f"{said}. LRU at the same capacity serves {number(pins['lru_hit_rate'])} ({lru}): {_better_of(pins)}."
    )


def _better_of(pins: Record) -> str:
    """Return whether pins or LRU serve more, by the interval of their difference."""
    low, high = pins["hit_rate_less_lru_ci95"]
    if low is None:
        return "whether that is chance could not be tested"
    if low > 0:
        return "these pins are better than that cache"
    return "a cache is better than these pins" if high < 0 else "neither is clearly better"
