"""Generated traces: each generator draws from one distribution and returns its exact quantities.

All generators take the same arguments for the trace itself, and a required `rng`:

n_experts, top_k : int
    The router, the same in every layer.
layers : int, or sequence of int
    How many layers (numbered from 0), or the layers' own numbers.
documents : int, or integer array ``[document]``
    How many documents, or the length of each.
mean_length : float
    Tokens per document when `documents` is a number (default 100).
lengths : {"equal", "exponential"}
    How lengths spread when `documents` is a number; see `document_lengths`.

They raise RoutestatError for anything else. Unless stated otherwise, tokens are independent of each other.

chains
    Markov chains of order 1 over the layers.
wide
    A chain on experts, for alphabets too wide to list their states.
nulls
    Independent layers, with popular, dead or clustered experts.
planted
    Blocks between layers, dependence of order 2 only, frequent paths.
planted_routes
    A chain with routes through a few layers.
specialists
    Experts that specialise in a domain of documents, or in a class of tokens.
distributions
    How subsets are drawn.
exact
    Exact information, margins and variances.
frame
    A synthetic trace and its truth.
stores
    A synthetic trace in memory, or written to a store.
"""

from routestat.traces.synthetic.chains import chain, chain_given
from routestat.traces.synthetic.frame import Shape, Synthetic, Truth, document_lengths, with_missing
from routestat.traces.synthetic.nulls import clustered, dead_experts, independent
from routestat.traces.synthetic.planted import planted_blocks, planted_paths, second_order
from routestat.traces.synthetic.planted_routes import planted_routes, window_probability
from routestat.traces.synthetic.specialists import specialists
from routestat.traces.synthetic.stores import to_trace, write
from routestat.traces.synthetic.wide import expert_chain

__all__ = [
    "Shape",
    "Synthetic",
    "Truth",
    "chain",
    "chain_given",
    "clustered",
    "dead_experts",
    "document_lengths",
    "expert_chain",
    "independent",
    "planted_blocks",
    "planted_paths",
    "planted_routes",
    "second_order",
    "specialists",
    "to_trace",
    "window_probability",
    "with_missing",
    "write",
]
