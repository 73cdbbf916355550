"""The parts of a study: which there are, and which other parts each needs."""

from collections.abc import Collection

from routestat.errors import RoutestatError

#: What each part finds, by its name; the loads of the layers belong to every study.
PARTS = {
    "dependence": "the dependence of adjacent layers, and their transitions",
    "level-checks": "whether the p-values can be trusted on these documents",
    "layer-map": "the information of all pairs of layers",
    "coactivation": "pairs of experts inside a layer",
    "sample-size": "whether there are enough documents",
    "prediction": "the held-out scores of the predictors",
    "memory": "how many layers and tokens back matter",
    "chain": "the fitted chain, which predict and draw use",
    "paths": "dominant and frequent paths through all layers, and the graph of transitions",
    "windows": "paths through a few layers that are more frequent than the chain explains",
    "blocks": "biclusters of transitions",
    "specialisation": "what experts specialise in: domains and classes of tokens",
    "modules": "experts over the depth",
}


def choose_parts(only: Collection[str] = (), skip: Collection[str] = ()) -> frozenset[str]:
    """Choose parts by name, all by default.

    Parameters
    ----------
    only : collection of str
        These, and no others; empty for all.
    skip : collection of str
        Not these.

    Raises
    ------
    RoutestatError
        If a name is no part, if one is in both, or if nothing is left.
    """
    for name in (*only, *skip):
        if name not in PARTS:
            raise RoutestatError(
                f"expected parts among {', '.join(PARTS)}, got {name!r}; separate them by commas"
            )
    if both := sorted(set(only) & set(skip)):
        raise RoutestatError(
            f"{', '.join(both)}: expected in --only or in --skip, got it in both; leave one out"
        )
    chosen = frozenset(only or PARTS) - frozenset(skip)
    if not chosen:
        raise RoutestatError("expected at least one part to compute, got --skip of all of them; name fewer")
    return chosen


def with_needed(
    chosen: Collection[str], skip: Collection[str] = (), *, states: str, order: int | None
) -> frozenset[str]:
    """Add the parts that chosen ones need, and leave out those that need a skipped one.

    Parameters
    ----------
    chosen : collection of str
    skip : collection of str
        Not to be computed, even where another part needs it.
    states : {"subset", "expert"}
        The view.
    order : int or None
        Of the chain; None if it is chosen on held-out documents.

    Returns
    -------
    frozenset of str

    Raises
    ------
    RoutestatError
        If every chosen part needs a skipped one.
    """
    kept = {name for name in chosen if not _needed(name, states, order) & set(skip)}
    if not kept:
        gone = sorted(set(skip) & frozenset().union(*(_needed(name, states, order) for name in chosen)))
        raise RoutestatError(
            f"expected a part that can do without {', '.join(gone)}, got only {', '.join(sorted(chosen))}"
        )
    return frozenset(kept).union(*(_needed(name, states, order) for name in kept))


def _needed(name: str, states: str, order: int | None) -> frozenset[str]:
    """Return a part and all that it needs, directly or through others."""
    needs: set[str] = set()
    if name == "paths":
        needs = {"chain"}
    elif name == "windows":
        # They are tested against the chain of the order that the memory has.
        needs = {"memory"}
    elif name == "chain" and states == "expert":
        # Its factorised chain is fitted with the predictors.
        needs = {"prediction"}
    elif name == "chain" and order not in (0, 1):
        # Which order predicts best, and how strongly order 2 is smoothed, are findings of the memory.
        needs = {"memory"}
    elif name == "memory" and states == "expert":
        needs = {"prediction"}
    return frozenset({name}).union(*(_needed(other, states, order) for other in needs))
