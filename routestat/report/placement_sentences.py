"""Sentences on placements: the answer first, each with the numbers behind it."""

from collections.abc import Sequence

from routestat.report.numbers import interval, number
from routestat.report.records.plain import Record

#: An affinity is named after what tokens stay on.
_STAY = {"device_affinity": "device", "node_affinity": "node"}


def placement_sentences(record: Record) -> list[str]:
    """Describe the placements and pins of a plain record of results.json, one sentence or two for each question."""
    placed = {row["objective"]: row for row in record["placements"]}
    said = []
    if "balance" in placed:
        said += [_balance(placed["balance"]), _gap("balance", placed["balance"])]
    if "affinity" in placed:
        kinds = ("node_affinity", "device_affinity") if record["devices"]["n_nodes"] > 1 else ("device_affinity",)
        said += [_affinity(placed["affinity"], kind) for kind in kinds]
        said.append(_gap("affinity", placed["affinity"]))
    if len(placed) == 2:
        said.append(_exchange(placed["balance"], placed["affinity"]))
    if record["pins"]:
        said.append(_pins(record["pins"]))
    return [sentence for sentence in said if sentence]


def verdict(row: Record, name: str) -> str:
    """Return "better", "worse", "no better" where the interval of a gain includes 0, or "untested" without one."""
    low, high = row[f"{name}_gain_ci95"] or (None, None)
    if row[f"{name}_gain"] is None or low is None or high is None:
        return "untested"
    return "better" if low > 0 else "worse" if high < 0 else "no better"


def _balance(row: Record) -> str:
    if row["balance_gain"] is None:
        return f"What balance gains is not known: {row.get('balance_reason', 'no documents are held out')}."
    return (
        "Balance: on documents that it was not made from, the placement changes the load of the busiest device, as a "
        f"multiple of the mean and averaged over the layers, from {number(row['balance_default'])} in the engines’ "
        f"default order to {number(row['balance_placed'])} ({_gain(row, 'balance')}). {_judged(row, 'balance')}"
    )


def _affinity(row: Record, kind: str) -> str:
    where = _STAY[kind]
    if row[f"{kind}_gain"] is None:
        why = row.get(f"{kind}_reason", "no documents are held out")
        return f"What affinity gains by {where} is not known: {why}."
    return (
        f"Affinity: of the pairs of a token’s choices in consecutive layers, {number(row[f'{kind}_placed'])} stay on "
        f"their {where}, where the default order has {number(row[f'{kind}_default'])} ({_gain(row, kind)}). "
        f"{_judged(row, kind)}"
    )


def _gain(row: Record, name: str) -> str:
    """Return the gain with its interval, or why there is none."""
    low, high = row[f"{name}_gain_ci95"]
    known = (
        f"95 % interval {interval(low, high)}"
        if low is not None
        else f"no interval: {row.get(f'{name}_reason', 'too few independent units')}"
    )
    return f"gain {number(row[f'{name}_gain'])}, {known}"


def _judged(row: Record, name: str) -> str:
    return {
        "better": "It is better than the default order.",
        "worse": "It is worse than the default order: keep that one.",
        "no better": "The interval includes 0: the default order is as good.",
        "untested": "Whether that is chance could not be tested.",
    }[verdict(row, name)]


def _gap(objective: str, row: Record) -> str:
    gap = row["optimality_gap"]
    if gap is None:
        return ""
    if gap < 5e-4:
        return f"The placement for {objective} is optimal for the documents that it was made from."
    return (
        f"On the documents that it was made from, the placement for {objective} is {number(100 * gap)} % from the "
        "optimum."
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


def _pins(rows: Sequence[Record]) -> str:
    known = [row for row in rows if row["hit_rate"] is not None]
    if not known:
        return "What pinning serves is not known: " + (rows[0].get("reason") or "no documents are held out") + "."
    mean = {
        name: sum(row[name] for row in known if row[name] is not None) / len(known)
        for name in ("hit_rate", "lru_hit_rate", "uniform_hit_rate")
    }
    compared = all(row["lru_hit_rate"] is not None for row in known)
    sizes = sorted({row["capacity"] for row in rows})
    said = (
        f"Pins: the {' or '.join(map(str, sizes))} experts of each layer that other documents use most serve "
        f"{number(mean['hit_rate'])} of the accesses, mean over layers; as many at random would serve "
        f"{number(mean['uniform_hit_rate'])}"
    )
    if not compared:
        return f"{said}."
    better = sum(row["lru_hit_rate"] > row["hit_rate"] for row in known)
    return (
        f"{said}, and LRU at the same capacity {number(mean['lru_hit_rate'])}. LRU is better in {better} of "
        f"{len(known)} layers."
    )
