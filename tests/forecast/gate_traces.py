"""Small traces with recorded lookahead and token ids."""

import itertools

import numpy as np

from routestat import Alphabet, Trace, TraceMeta
from routestat.counting.board_rows import board_rows
from routestat.counting.document_sample import take_sample
from routestat.forecast import catalogue
from routestat.forecast.gate import lookahead_columns
from routestat.traces.metadata import Router

ALPHABET = Alphabet(6, 2)
PAIRS = list(itertools.combinations(range(6), 2))
MISSING = ALPHABET.missing


def routers(layers, n_experts=6, top_k=2):
    return tuple(Router(layer, n_experts, top_k) for layer in layers)


def early(states, share, rng):
    """What a gate says that is right for a share of the tokens and otherwise any pair."""
    wrong = rng.integers(0, len(PAIRS), len(states))
    return np.where(rng.random(len(states)) < share, states, wrong).astype(ALPHABET.dtype)


def make_trace(layers, ahead, *, documents=12, length=10, seed=0, missing=0.0, recorded=1.0, ids=None):
    """A trace of uniform choices with ``ahead = {(source layer, n): share that is right}``.

    A share `missing` of the choices is missing, and all but `recorded` of the lookahead; `ids` is how many token ids
    there are, which decide half of the choices.
    """
    rng = np.random.default_rng(seed)
    n = documents * length
    document = np.repeat(np.arange(documents), length)
    token = rng.integers(0, ids, n) if ids else None
    popular = rng.dirichlet(np.full(len(PAIRS), 0.7), size=len(layers))
    states = np.stack([rng.choice(len(PAIRS), n, p=p) for p in popular], axis=1).astype(ALPHABET.dtype)
    if ids:
        own = rng.integers(0, len(PAIRS), (ids, len(layers))).astype(ALPHABET.dtype)
        states = np.where(rng.random(states.shape) < 0.5, own[token], states)
    columns = {}
    for (source, distance), share in ahead.items():
        values = early(states[:, list(layers).index(source + distance)], share, rng)
        values[rng.random(n) >= recorded] = MISSING
        columns[f"L{source:02d}.ahead{distance}"] = values
    states[rng.random(states.shape) < missing] = MISSING
    given = {} if token is None else {"token": token}
    meta = TraceMeta(routers(layers))
    return Trace.from_arrays(meta, document, None, states, columns=columns, template="keep", **given)


def rows_of(trace, folds=4):
    companions = [one.column for one in lookahead_columns(trace.columns, trace.routers())]
    return board_rows(take_sample(trace, companions=companions), trace.routers(), folds)


def experts_of(states):
    """The pair of each token, None where it is missing."""
    return [None if state == MISSING else PAIRS[state] for state in states.tolist()]


def registered(*names):
    return [spec for spec in catalogue.PREDICTORS if spec.name in names]
