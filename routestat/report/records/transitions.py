"""tables/transition-*.csv: the cells of a transition."""

from collections.abc import Iterator

from routestat.report.records.plain import Record, subset_words
from routestat.study.layer_pairs import LayerPair
from routestat.study.transitions import transition_table


def transition_rows(pair: LayerPair, states: str) -> Iterator[Record]:
    """Yield every cell of a transition whose source and target were both chosen."""
    found = transition_table(pair, states)
    if found is None:
        return
    subsets = states == "subset"
    words = [subset_words(router) if subsets else [] for router in (pair.source, pair.target)]
    tests = {"z_clustered": found.z, "log10_q_clustered": found.log10_q}
    for i, j in zip(*(found.lift == found.lift).nonzero(), strict=True):
        record: Record = {"source": int(i), "target": int(j)}
        if subsets:
            record |= {"source_experts": words[0][i], "target_experts": words[1][j]}
        yield record | {
            "count": int(found.counts[i, j]),
            "row_tokens": int(found.row_tokens[i]),
            "joint": found.joint[i, j],
            "conditional": found.conditional[i, j],
            "lift": found.lift[i, j],
            "adjusted_residual_iid": found.residuals[i, j],
            **{name: values[i, j] for name, values in tests.items() if values is not None},
        }
