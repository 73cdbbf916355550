"""Small traces of three layers, and their tokens for the oracle."""

import numpy as np

from routestat.counting.document_sample import Sample, take_sample
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace


def sample_of(states: np.ndarray, lengths, n_experts: int, top_k: int, groups: int = 256) -> Sample:
    """A sample of `states` `[row, layer]` in documents of these lengths."""
    routers = routers_like(tuple(range(states.shape[1])), n_experts, top_k)
    document = np.repeat(np.arange(len(lengths)), lengths)
    position = np.concatenate([np.arange(n) for n in lengths])
    trace = Trace.from_arrays(
        TraceMeta(routers), document, position, states.astype(routers[0].alphabet.dtype)
    )
    return take_sample(trace, groups=groups)


def random_sample(seed: int, lengths, n_experts=4, top_k=2, missing=0.0, groups=256, n_layers=3) -> Sample:
    """Layers that mostly follow the one before, with missing choices."""
    rng = np.random.default_rng(seed)
    alphabet = routers_like((0,), n_experts, top_k)[0].alphabet
    n = int(np.sum(lengths))
    states = rng.integers(0, alphabet.size, (n, n_layers))
    for layer in range(1, n_layers):
        same = rng.random(n) < 0.5
        states[same, layer] = (states[same, layer - 1] + layer) % alphabet.size
    states = np.where(rng.random(states.shape) < missing, alphabet.missing, states)
    return sample_of(states, lengths, n_experts, top_k, groups)


def tokens_of(sample: Sample, states: str, layers=(0, 1, 2)):
    """(document, group, xs, ys, zs) of the tokens with a choice at all three layers."""
    found = []
    for row in range(len(sample)):
        own = [int(sample.columns[sample.routers[layer].name][row]) for layer in layers]
        alphabet = sample.routers[0].alphabet
        if max(own) < alphabet.size:
            choices = [alphabet.unrank(state).tolist() if states == "expert" else [state] for state in own]
            found.append((int(sample.document[row]), int(sample.group[row]), *choices))
    return found
