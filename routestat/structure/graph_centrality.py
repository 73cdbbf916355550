"""Centrality of states in a layered graph: how much of the flow along its edges leads through a state."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routestat.inference.base.tables import Floats, read_only


@dataclass(frozen=True, eq=False)
class Centrality:
    """Centralities of all states; see `flow_centrality`.

    Attributes
    ----------
    shares : tuple of float arrays ``[state]``
        One per layer, from 0 to 1; they sum to 1 over a layer. NaN where they are not defined.
    flow : float
        Probability that all steps of a route are along the edges; NaN for one layer.
    reason : str
        Why the shares are not defined; empty if they are.
    """

    shares: tuple[Floats, ...]
    flow: float
    reason: str = ""

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for array in self.shares:
            read_only(array)


def flow_centrality(initial: Floats, steps: Sequence[Floats]) -> Centrality:
    """Compute the share of each state in the routes of a chain whose steps are all along the edges of a graph.

    Without a choice of edges this is the probability of the state, the share of the tokens. With the edges of the
    backbone it is larger where the routes of significant transitions meet. All routes are counted with
    their probabilities: the most probable ones alone soon share all their states.

    Parameters
    ----------
    initial : float array ``[state]``
        Distribution of the first layer.
    steps : sequence of float arrays ``[source, target]``
        P(target | source) on the edges, 0 elsewhere; one per transition.
    """
    sizes = [len(initial), *(step.shape[1] for step in steps)]
    unknown = tuple(np.full(size, np.nan) for size in sizes)
    if not steps:
        return Centrality(unknown, float("nan"), "one layer has no transitions")
    forward, backward = [initial], [np.ones(sizes[-1])]
    # Scaled layer by layer: the product over a hundred layers would be too small for a number.
    log_flow = 0.0
    for step in steps:
        reached = forward[-1] @ step
        total = float(reached.sum())
        if not total > 0:
            why = "no route of edges leads from the first layer to the last"
            return Centrality(unknown, 0.0, why)
        log_flow += np.log(total)
        forward.append(reached / total)
    for step in steps[::-1]:
        left = step @ backward[-1]
        backward.append(left / left.max())
    shares = [ahead * after for ahead, after in zip(forward, backward[::-1], strict=True)]
    return Centrality(tuple(share / share.sum() for share in shares), float(np.exp(log_flow)))
