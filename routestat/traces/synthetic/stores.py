"""A synthetic trace as a trace in memory, or written to a store."""

from pathlib import Path

import pyarrow as pa

from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace
from routestat.traces.synthetic.frame import Synthetic
from routestat.traces.writer import TraceWriter


def to_trace(synthetic: Synthetic, name: str = "synthetic") -> Trace:
    """Return the rows as a trace in memory; of the truth, the domains, and in `extra` the generator's name are kept."""
    trace = Trace.from_arrays(
        _meta(synthetic, name),
        synthetic.document,
        synthetic.position,
        synthetic.states,
        token=synthetic.token,
    )
    domain = synthetic.truth.planted.get("domain")
    if domain is not None:
        words = pa.array([f"domain {one}" for one in domain.tolist()])
        trace.documents = trace.documents.append_column("domain", words)
    return trace


def write(synthetic: Synthetic, path: str | Path, name: str = "synthetic") -> Path:
    """Write a store of the same rows into the folder `path`, and return that.

    Raises
    ------
    TraceError
        If the folder holds a store already.
    """
    with TraceWriter(path, _meta(synthetic, name)) as writer:
        writer.write(synthetic.document, synthetic.position, states=synthetic.states, token=synthetic.token)
    return Path(path)


def _meta(synthetic: Synthetic, name: str) -> TraceMeta:
    routers = routers_like(synthetic.layers, synthetic.n_experts, synthetic.top_k)
    return TraceMeta(routers, name=name, extra={"law": synthetic.truth.generator})
