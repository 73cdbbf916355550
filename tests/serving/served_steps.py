"""Steps of small traces, in tests."""

import numpy as np

from routestat.counting.document_sample import take_sample
from routestat.serving.steps import Steps, make_steps
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace


def trace_of(lengths, experts, n_experts=8, phase=None, **more) -> Trace:
    """A trace of documents of these lengths, each a cluster, with choices ``[token, layer, slot]``."""
    experts = np.asarray(experts)
    document = np.repeat(np.arange(len(lengths)), lengths)
    position = np.concatenate([np.arange(n) for n in lengths])
    routers = routers_like(range(experts.shape[1]), n_experts, experts.shape[2])
    states = {r.name: r.alphabet.rank(experts[:, at]) for at, r in enumerate(routers)}
    more |= {} if phase is None else {"phase": np.asarray(phase)}
    more.setdefault("clusters", document)
    return Trace.from_arrays(TraceMeta(routers), document, position, states, **more)


def random_choices(n_tokens, n_layers=3, n_experts=8, k=2, seed=0, skew=0.0):
    """Choices ``[token, layer, slot]``; with skew > 0 small ids are chosen more often."""
    rng = np.random.default_rng(seed)
    weight = rng.gumbel(size=(n_tokens, n_layers, n_experts)) - skew * np.arange(n_experts)
    return np.sort(np.argsort(-weight, axis=2)[..., :k], axis=2)


def steps_of(trace, **options) -> Steps:
    """The steps of all tokens of a trace."""
    sample = take_sample(trace)
    return make_steps(sample, sample.routers, **options)
