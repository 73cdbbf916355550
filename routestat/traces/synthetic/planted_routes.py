"""A chain with routes through a few layers that some tokens take as a whole."""

from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.traces.categorical import categorical
from routestat.traces.synthetic import distributions, exact
from routestat.traces.synthetic.chains import dense_size, state_distributions
from routestat.traces.synthetic.distributions import Floats
from routestat.traces.synthetic.frame import Shape, Synthetic, Truth, make_frame


def planted_routes(
    *,
    weight: float,
    rng: np.random.Generator,
    n_routes: int = 3,
    length: int = 5,
    coupling: float = 0.5,
    concentration: float = 0.5,
    popularity: float | ArrayLike = 5.0,
    **shape: Unpack[Shape],
) -> Synthetic:
    """Generate a chain of order 1 in which some tokens take a route through consecutive layers.

    A token of a route follows the chain up to the route's first layer and from its last layer on; in between it makes
    the choices of the route. Each route is a mixture component that is itself a chain, so that everything is exact.

    Parameters
    ----------
    weight : float
        Between 0 and 1: the probability of taking a route, the same for each of them.
    n_routes, length : int
        How many, and their layers. First layers and choices are drawn at random.
    coupling, concentration, popularity
        Of the chain, as in `chain`.

    Returns
    -------
    Synthetic
        `mi_bits` and `cmi_bits` are exact. `planted`: ``start`` ``[route]``, ``routes`` ``[route, layer]``, ``follows``
        ``[token]`` (which route a token takes, or −1), and of the components, the last of which takes no route,
        ``share`` ``[component]`` and ``steps`` ``[component, gap, source, target]``, from the distribution ``first``
        ``[component, state]``; see `window_probability`.
    """
    frame = make_frame(rng, shape)
    weight = distributions.check_share("weight", weight)
    coupling = distributions.check_share("coupling", coupling)
    alpha = distributions.check_positive("concentration", concentration)
    if not 2 <= length <= frame.n_layers or n_routes < 1:
        raise RoutestatError(
            f"expected one route or more, of 2 to {frame.n_layers} layers, got {n_routes!r} of {length!r}"
        )
    base = state_distributions(frame, popularity, rng)
    n_states = dense_size(frame)
    rows = rng.dirichlet(np.full(n_states, alpha), size=(frame.n_layers - 1, n_states))
    chain = distributions.mix_in_independence(rows, base[1:, None, :], coupling)
    start = rng.integers(frame.n_layers - length + 1, size=n_routes)
    routes = rng.integers(n_states, size=(n_routes, length))

    share = np.append(np.full(n_routes, weight / n_routes), 1 - weight)
    first, steps = np.tile(base[0], (n_routes + 1, 1)), np.tile(chain, (n_routes + 1, 1, 1, 1))
    for own, (at, route) in enumerate(zip(start, routes, strict=True)):
        for place, state in enumerate(route, start=at):
            onto = first[own] if place == 0 else steps[own, place - 1]
            onto[...] = 0.0
            onto[..., state] = 1.0
    component = categorical(share[None], np.zeros(frame.n_tokens, np.int32), rng)
    states = frame.blank()
    states[0] = categorical(first, component, rng)
    for gap in range(frame.n_layers - 1):
        rows_of = component * n_states + states[gap]
        states[gap + 1] = categorical(steps[:, gap].reshape(-1, n_states), rows_of, rng)
    planted = {
        "start": start,
        "routes": routes,
        "follows": np.where(component == n_routes, -1, component),
        "share": share,
        "first": first,
        "steps": steps,
    }
    return frame.finish(states, _truth(planted))


def window_probability(
    truth: Truth, start: NDArray[np.integer], choices: NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """Compute the probability of windows under `planted_routes`, and that under the chain of order 1 of its pairs.

    Parameters
    ----------
    truth : Truth
        Of `planted_routes`.
    start : int array ``[window]``
        The first layer.
    choices : int array ``[window, layer]``
        States, −1 after the last.

    Returns
    -------
    exact, expected : float array ``[window]``
        They are equal where the layers of a window are a chain.
    """
    share, steps = truth.planted["share"], truth.planted["steps"]
    layers = _component_marginals(truth.planted["first"], steps)
    joints = np.einsum("c,cgi,cgij->gij", share, layers[:, :-1], steps)
    margins = np.einsum("c,cgi->gi", share, layers)
    found = np.empty((2, len(start)))
    for window, (at, word) in enumerate(zip(start, choices, strict=True)):
        word = word[word >= 0]
        own, expected = share * layers[:, at, word[0]], margins[at, word[0]]
        for place in range(len(word) - 1):
            step = at + place, word[place], word[place + 1]
            own = own * steps[:, *step]
            expected *= joints[step] / margins[at + place, word[place]]
        found[:, window] = own.sum(), expected
    return found[0], found[1]


def _component_marginals(first: Floats, steps: Floats) -> Floats:
    """Distributions ``[component, layer, state]``."""
    chains = zip(first, steps, strict=True)
    return np.array([exact.chain_marginals(initial, own) for initial, own in chains])


def _truth(planted: dict) -> Truth:
    share, steps = planted["share"], planted["steps"]
    layers = _component_marginals(planted["first"], steps)
    joints = np.einsum("c,cgi,cgij->gij", share, layers[:, :-1], steps)
    margins = np.einsum("c,cgi->gi", share, layers)
    cmi = []
    for gap in range(len(joints) - 1):
        three = np.einsum("c,ci,cij,cjk->jik", share, layers[:, gap], steps[:, gap], steps[:, gap + 1])
        middle = three.sum(axis=(1, 2))
        used = [place for place in range(len(middle)) if middle[place] > 0]
        parts = (middle[at] * exact.mutual_information_bits(three[at] / middle[at]) for at in used)
        cmi.append(sum(parts))
    mi = np.array([exact.mutual_information_bits(joint) for joint in joints])
    return Truth("planted_routes", margins, None, mi, np.array(cmi), planted)
