"""Compiled counts from which linear predictors are fitted."""

from routestat.counting.kernels.compiling import Array, compiled, inlined


@inlined
def _is_complete(features: Array) -> bool:  # pragma: no cover - compiled
    least = 0
    for slot in range(len(features)):
        least = min(least, features[slot])
    return least >= 0


@compiled
def add_moments(
    features: Array,
    target: Array,
    starts: Array,
    stops: Array,
    folds: Array,
    missing: int,
    within: Array,
    across: Array,
) -> None:  # pragma: no cover - compiled
    """Count the features of every complete row with each other and with the target's experts.

    The features of a row ascend: those of one source are sorted experts, those of the next have larger numbers.
    ``folds[run]`` says which of ``within[fold, feature, feature]`` (filled from the diagonal down only) and
    ``across[fold, feature, j]`` is added to.
    """
    for r in range(len(starts)):
        pairs, cells = within[folds[r]], across[folds[r]]
        for t in range(starts[r], stops[r]):
            if target[t, 0] == missing or not _is_complete(features[t]):
                continue
            for a in range(features.shape[1]):
                x = features[t, a]
                for b in range(a + 1):
                    pairs[x, features[t, b]] += pairs.dtype.type(1)
                for j in range(target.shape[1]):
                    cells[x, target[t, j]] += cells.dtype.type(1)
