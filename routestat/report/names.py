"""Names of layers and states in pictures."""

import numpy as np
from numpy.typing import NDArray

from routestat.traces.metadata import Router

#: From this many states on they are named by their number instead of their experts.
NAMED_STATES = 32
#: Rows of a transition on fewer tokens are marked.
FEW_TOKENS = 30
# Without the thin space "3,5" reads as a decimal number.
COMMA = ",\u2009"


def of_layer(router: Router, states: str) -> str:
    """Return what the rows or columns of a table are, such as ``pair of layer 3``."""
    what = "expert" if states == "expert" or router.top_k == 1 else "pair" if router.top_k == 2 else "subset"
    return f"{what} of layer {router.layer}"


def state_names(router: Router, states: str, order: NDArray[np.integer] | None = None) -> list[str]:
    """Return the experts of every state, where there are few states, or its number.

    Parameters
    ----------
    router : Router
    states : {"subset", "expert"}
    order : int array ``[place]``, optional
        The states that are shown, in their order; all by default.
    """
    size = router.alphabet.size if states == "subset" else router.n_experts
    shown = np.arange(size) if order is None else order
    if states == "subset" and len(shown) <= NAMED_STATES:
        return [COMMA.join(map(str, row)) for row in router.alphabet.unrank(shown).tolist()]
    return [str(state) for state in shown.tolist()]
