"""Compiled sums of expected tables under independence within documents."""

from routestat.counting.kernels.compiling import Array, compiled


@compiled
def close_document(
    rows: Array, columns: Array, tokens: int, table: Array
) -> None:  # pragma: no cover - compiled
    """Add rows · columns' / tokens to `table`, and empty the margins."""
    if tokens > 0:
        for i in range(len(rows)):
            if rows[i] > 0:
                share = rows[i] / tokens
                for j in range(len(columns)):
                    table[i, j] += share * columns[j]
    rows[:] = 0.0
    columns[:] = 0.0


@compiled
def within_documents(
    source: Array,
    target: Array,
    starts: Array,
    groups: Array,
    limits: Array,
    rows: Array,
    columns: Array,
    tokens: int,
    table: Array,
) -> int:  # pragma: no cover - compiled
    """Add (source margin)(target margin)' / tokens of every document to ``table[group, source, target]``.

    ``starts[d] … starts[d + 1]`` are the rows of a document of ``groups[d]``. The last document may go on in the
    next batch: its margins stay in `rows` and `columns`, and its tokens are returned; the first one goes on from
    what those hold.
    """
    last = len(groups) - 1
    for d in range(len(groups)):
        for t in range(starts[d], starts[d + 1]):
            if source[t, 0] >= limits[0] or target[t, 0] >= limits[1]:
                continue
            tokens += 1
            for i in range(source.shape[1]):
                rows[source[t, i]] += 1.0
            for j in range(target.shape[1]):
                columns[target[t, j]] += 1.0
        if d < last:
            close_document(rows, columns, tokens, table[groups[d]])
            tokens = 0
    return tokens
