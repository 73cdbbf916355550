"""Small traces with token ids or without, of which a share is copied from earlier ones."""

import itertools

import numpy as np

from routestat import Alphabet, Trace, TraceMeta
from routestat.traces.metadata import Router
from tests.board_cases import rows_with_folds

PAIRS = list(itertools.combinations(range(6), 2))
ALPHABET = Alphabet(6, 2)


def make_arrays(documents, length, layers=4, *, seed=0, ids=5, decided=0.0, missing=0.0):
    """Documents and ids of tokens, and their states ``[row, layer]``: a share `decided` follows from the id."""
    rng = np.random.default_rng(seed)
    n = documents * length
    document, token = np.repeat(np.arange(documents), length), rng.integers(0, ids, n)
    states = rng.integers(0, len(PAIRS), (n, layers)).astype(ALPHABET.dtype)
    own = rng.integers(0, len(PAIRS), (ids, layers)).astype(ALPHABET.dtype)
    states = np.where(rng.random(states.shape) < decided, own[token], states)
    states[rng.random(states.shape) < missing] = ALPHABET.missing
    return document, token, states


def copied_histories(documents, length, layers=4, *, patterns=12, seed=0):
    """Documents without ids: each token follows one of some random paths through all layers."""
    rng = np.random.default_rng(seed)
    paths = rng.integers(0, len(PAIRS), (patterns, layers)).astype(ALPHABET.dtype)
    document = np.repeat(np.arange(documents), length)
    return document, None, paths[rng.integers(0, patterns, len(document))]


def rows_of(document, token, states, *, folds, window=0, phase=None):
    """Rows in one group and one fold for each document, in turn."""
    given = {} if token is None else {"token": token}
    if phase is not None:
        given["phase"] = phase
    meta = TraceMeta(tuple(Router(layer, 6, 2) for layer in range(states.shape[1])), window=window)
    trace = Trace.from_arrays(meta, document, None, states, template="keep", **given)
    return rows_with_folds(trace, np.arange(int(document.max()) + 1) % folds)


def choices_of(rows):
    """The chosen experts ``[router][row]`` as sets, empty where they are missing."""
    return [
        [
            set(map(int, one)) if known else set()
            for one, known in zip(rows.experts(r), rows.known(r), strict=True)
        ]
        for r in rows.routers
    ]
