"""Samples whose tokens come from given chains."""

from dataclasses import replace

import numpy as np

from routestat.counting.document_sample import Sample, take_sample
from routestat.traces.synthetic import chain_given, to_trace

N_STATES, N_LAYERS = 10, 4


def chains(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A distribution of the first layer and transitions of the others, of pairs of 5 experts."""
    rng = np.random.default_rng(seed)
    first = rng.dirichlet(np.full(N_STATES, 1.0))
    return first, rng.dirichlet(np.full(N_STATES, 0.2), (N_LAYERS - 1, N_STATES))


def sample_of(process: int, seed: int, documents: int = 40, mean_length: float = 40) -> Sample:
    """Documents drawn from a process; of all layers."""
    first, transitions = chains(process)
    drawn = chain_given(
        initial=first, transitions=transitions, rng=np.random.default_rng(seed),
        n_experts=5, top_k=2, layers=N_LAYERS, documents=documents, mean_length=mean_length,
    )  # fmt: skip
    return take_sample(to_trace(drawn))


def joined_domains(parts: dict[str, Sample]) -> Sample:
    """One sample of several, each a domain."""
    first, *_ = parts.values()
    offsets = np.cumsum([0, *(int(part.document.max()) + 1 for part in parts.values())]).tolist()
    document = np.concatenate([part.document + at for part, at in zip(parts.values(), offsets, strict=False)])
    domains = {
        int(number) + at: name
        for (name, part), at in zip(parts.items(), offsets, strict=False)
        for number in np.unique(part.document)
        if name
    }
    every = list(parts.values())
    return replace(
        first,
        token=np.concatenate([part.token for part in every]),
        document=document.astype(np.int32),
        follows=np.concatenate([part.follows for part in every]),
        columns={name: np.concatenate([part.columns[name] for part in every]) for name in first.columns},
        units=type(first.units).alone(document),
        phase=np.concatenate([part.phase for part in every]),
        n_documents=len(np.unique(document)),
        n_tokens_in_all=len(document),
        domains=domains,
    )
