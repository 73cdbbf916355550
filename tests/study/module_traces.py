"""Traces of models whose layers share their modules, and of models with identity experts, in memory."""

import numpy as np
import pyarrow as pa

from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace

HOSTILE = "<script>alert(1)</script>"


def shared_trace(
    top_k: int = 2, modules: int = 6, steps: int = 5, documents: int = 40, seed: int = 0, **extra: object
) -> Trace:
    """Modules of higher ids are used later; a token that has module 0 often has module 1 next."""
    rng = np.random.default_rng(seed)
    length = rng.integers(20, 50, documents)
    document = np.repeat(np.arange(documents), length)
    position = np.concatenate([np.arange(n) for n in length])
    routers = routers_like(range(steps), modules, top_k)
    states, before = [], None
    for step in range(steps):
        theta = 1.2 * np.linspace(-1, 1, steps)[step] * np.linspace(-1, 1, modules)
        noise = rng.normal(0, 0.5, (documents, modules))[document] + rng.gumbel(size=(len(document), modules))
        chosen = np.argsort(-(theta + noise), axis=1)[:, :top_k]
        if before is not None:
            follows = (before == 0).any(axis=1) & (rng.random(len(document)) < 0.4)
            follows &= ~(chosen == 1).any(axis=1)
            chosen[follows, 0] = 1
        before = chosen
        states.append(routers[0].alphabet.rank(np.sort(chosen, axis=1)))
    meta = TraceMeta(routers, name=HOSTILE, extra=extra)
    token = rng.integers(0, 30, len(document)).astype(np.int32)
    trace = Trace.from_arrays(meta, document, position, np.stack(states, axis=1), token=token)
    names = pa.array([f"{HOSTILE}/{n}" for n in range(documents)])
    trace.documents = trace.documents.append_column("name", names)
    return trace
