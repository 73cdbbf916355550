"""Small traces with windows, missing choices and routers of different width, for ridges on histories."""

import numpy as np

from routestat import Trace, TraceMeta
from routestat.traces.metadata import Router

SIZES, TOP_K = (5, 6, 4, 5), (2, 1, 2, 2)


def routers(sizes=SIZES, top_k=TOP_K):
    return tuple(
        Router(layer=at, n_experts=e, top_k=k) for at, (e, k) in enumerate(zip(sizes, top_k, strict=True))
    )


def small_trace(rng, documents=6, length=23, window=0, missing=0.1, tokens=7, sizes=SIZES, top_k=TOP_K):
    """A trace, and its choices ``[layer][row]`` as tuples or None; choices depend on the token and the layer before."""
    n = documents * length
    token = rng.integers(0, tokens, n)
    experts = []
    for at, (size, k) in enumerate(zip(sizes, top_k, strict=True)):
        lean = rng.normal(size=(tokens, size)) * 1.5
        noise = rng.gumbel(size=(n, size)) + lean[token]
        if at:
            noise += 1.2 * (
                np.arange(size) == np.array([chosen[0] % size for chosen in experts[-1]])[:, None]
            )
        experts.append([tuple(sorted(row.tolist())) for row in np.argsort(-noise, axis=1)[:, :k]])
    for layer in experts:
        for row in np.flatnonzero(rng.random(n) < missing):
            layer[row] = None
    whole = min(n // 2 + 5, n - 1)
    for layer in experts:
        layer[whole] = None
    meta = TraceMeta(routers(sizes, top_k), window=window)
    columns = {}
    for router, layer in zip(meta.routers, experts, strict=True):
        alphabet = router.alphabet
        states = np.full(n, np.iinfo(alphabet.dtype).max, alphabet.dtype)
        for row, chosen in enumerate(layer):
            if chosen is not None:
                states[row] = alphabet.rank(np.array(chosen))
        columns[router.name] = states
    document = np.repeat(np.arange(documents), length)
    position = np.tile(np.arange(length), documents)
    return Trace.from_arrays(meta, document, position, columns, token=token), experts, token
