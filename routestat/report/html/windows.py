"""The section of the page on frequent windows of layers."""

from collections import Counter
from collections.abc import Sequence

from routestat.report.numbers import experts_words
from routestat.report.records.plain import Record
from routestat.traces.metadata import Router


def windows_section(record: Record, routers: Sequence[Router], states: str) -> Record:
    """Return the `rows` of the table, and the `order` of the chain in words.

    Parameters
    ----------
    record : Record
        The content of results.json.
    routers : sequence of Router
    states : {"subset", "expert"}
    """
    orders = record.get("windows_tested", {}).get("orders", ())
    return {"rows": shown_windows(record, routers, states), "order": order_words(orders)}


def shown_windows(record: Record, routers: Sequence[Router], states: str) -> list[Record]:
    """Return the windows of the page with `words`, one choice per layer; none where they were not tested."""
    by_name = {router.name: router for router in routers}
    key = "states" if states == "subset" else "experts"
    return [
        row
        | {
            "words": [
                _words(by_name[name], states, choice)
                for name, choice in zip(row["routers"], row[key], strict=True)
            ]
        }
        for row in record.get("windows", ())
        if row["shown"]
    ]


def _words(router: Router, states: str, choice: int) -> str:
    return experts_words([choice] if states == "expert" else router.alphabet.unrank(choice).tolist())


def order_words(orders: Sequence[int]) -> str:
    """Say which order the steps of a chain have, such as ``order 2 (order 1 in 3 of 31 steps)``."""
    counted = Counter(orders).most_common()
    if not counted:
        return "order 1"
    (most, _), *others = counted
    rest = ", ".join(f"order {order} in {n} of {len(orders)} steps" for order, n in others)
    return f"order {most}" + (f" ({rest})" if rest else "")
