"""Tables of modules that all steps share, from documents with tastes of their own and tokens that repeat."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Tables:
    inclusions: list[np.ndarray]
    steps: list[np.ndarray]
    pairs: list[np.ndarray]
    tokens: np.ndarray


def made(
    rng: np.random.Generator,
    *,
    modules: int = 6,
    top_k: int = 1,
    steps: int = 4,
    groups: int = 60,
    tokens: int = 60,
    repeat: float = 0.0,
    then: float = 0.0,
    drift: float = 0.0,
) -> Tables:
    """Make tables in which nothing depends on the step before, unless it is planted.

    Every document has its own weights at every step, independent of those at others, and half of its tokens choose as
    the token before. With probability `repeat` a token takes the modules of the step before again; with `then` one that
    has module 0 takes module 1 next; `drift` makes modules of higher ids more frequent at later steps.
    """
    sizes = np.maximum(5, rng.exponential(tokens, groups)).astype(int)
    base = rng.normal(0, 1, (steps, modules)) if not drift else np.zeros((steps, modules))
    base = base + drift * np.outer(np.linspace(-1, 1, steps), np.linspace(-1, 1, modules))
    first = np.triu_indices(modules, 1)
    found = Tables([], [], [], sizes)
    chosen: list[list[np.ndarray]] = []
    for size in sizes:
        rows: list[np.ndarray] = []
        for step in range(steps):
            theta = base[step] + rng.normal(0, 0.7, modules)
            choice = np.argsort(-(theta + rng.gumbel(size=(size, modules))), axis=1)[:, :top_k]
            fresh = rng.random(size) < 0.5
            fresh[0] = True
            choice = choice[np.maximum.accumulate(np.where(fresh, np.arange(size), 0))]
            if step:
                before = rows[-1]
                again = rng.random(size) < repeat
                choice[again] = before[again]
                follows = (before == 0).any(axis=1) & (rng.random(size) < then)
                choice[follows & ~(choice == 1).any(axis=1), 0] = 1
            rows.append(choice)
        chosen.append(rows)
    members = [[np.eye(modules, dtype=int)[rows].sum(axis=1) for rows in document] for document in chosen]
    for step in range(steps):
        found.inclusions.append(np.array([document[step].sum(axis=0) for document in members]))
        found.pairs.append(np.array([(d[step].T @ d[step])[first] for d in members]))
        if step:
            found.steps.append(np.array([d[step - 1].T @ d[step] for d in members]))
    return found
