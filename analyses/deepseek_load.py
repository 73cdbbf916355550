"""Recompute the loads of DeepSeek-V2-Lite from the trace and compare them with the figures of the authors.

Claim
    The published share of each expert in the choices of each layer, for four data sets, is reproduced by the trace to
    the rounding of the published figures. The sampling error over documents is far larger than the rounding.
Data
    The trace of DeepSeek-V2-Lite (ESFT vanilla-lite): 26 layers, 64 experts, top 6, 213 documents of four data sets;
    and the authors' summary in data/published/deepseek-v2-lite-esft.
Method
    Tokens of all documents are counted, the shared beginning in every document as the authors did. The load of an
    expert is its share of the choices of a layer, with an interval over documents. The authors select the most loaded
    experts of a layer up to a share of 0.2 (their scripts/generate_expert_config.sh); this is repeated on random
    halves of the documents.
What would refute it
    A difference of more than 0.00005 (half of the last place) in any layer, expert and data set.
"""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import routestat as rs
from analyses.output import ROOT, TRACES, filled, table, write

PUBLISHED = ROOT / "data" / "published" / "deepseek-v2-lite-esft"
ROUNDING = 0.5e-4
SHARE = 0.2
HALVES = 200


def published(domain: str, layers: list[int], experts: int) -> NDArray[np.float64]:
    """Read the authors' shares `[layer, expert]` of one data set."""
    scores = json.loads((PUBLISHED / f"{domain}.json").read_text())["token_scores"]
    return np.array([[scores[str(layer)][str(expert)] for expert in range(experts)] for layer in layers])


def count_documents(trace: rs.Trace) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
    """Count choices `[document, layer, expert]`, tokens `[document]`, and read the data set of each document."""
    documents = trace.documents.num_rows
    counts = rs.count(trace, contexts=[rs.Context()], groups=documents, states="expert")
    loads = np.stack([counts.table(rs.Context(), router) for router in counts.routers], axis=1)
    if counts.n_clusters != documents or not (counts.documents == 1).all():
        raise ValueError("one group per document was expected; count documents by their numbers")
    return loads.astype(np.int64), counts.tokens, np.array(trace.documents["domain"].to_pylist())


def selected(share: NDArray[np.float64], least: float = SHARE) -> set[int]:
    """Select the most loaded experts of a layer, as few as have together at least this share of the choices."""
    order = np.argsort(-share, kind="stable")
    return set(order[: int(np.searchsorted(np.cumsum(share[order]), least)) + 1].tolist())


@dataclass(frozen=True)
class Agreement:
    """How one data set agrees with the published figures.

    Attributes
    ----------
    domain, documents, tokens
        The data set, its documents and tokens.
    largest
        Largest absolute difference of a share.
    beyond
        How many shares differ by more than the rounding.
    half_width
        Median half-width of the 95 % interval of a share over documents.
    repeated, repeated_low, repeated_high
        Mean share of the experts selected on a random half of the documents that the other half selects too, and
        the central 95 % over random halves.
    """

    domain: str
    documents: int
    tokens: int
    largest: float
    beyond: int
    half_width: float
    repeated: float
    repeated_low: float
    repeated_high: float


def compare(
    domain: str,
    loads: NDArray[np.int64],
    tokens: NDArray[np.int64],
    figures: NDArray[np.float64],
    top_k: int,
    rng: np.random.Generator,
) -> Agreement:
    """Compare one data set's documents with the published figures.

    Parameters
    ----------
    loads
        Choices `[document, layer, expert]`.
    tokens
        `[document]`.
    figures
        Published shares `[layer, expert]`.
    top_k
        Choices of a token.
    rng
        Divides the documents into halves.
    """
    balances = [rs.load_balance(loads[:, layer], tokens, top_k) for layer in range(loads.shape[1])]
    share = np.stack([balance.share for balance in balances])
    low = np.stack([balance.load_low for balance in balances]) / top_k
    high = np.stack([balance.load_high for balance in balances]) / top_k
    difference = np.abs(share - figures)
    repeated = [halves_agree(loads, rng) for _ in range(HALVES)]
    return Agreement(
        domain,
        len(tokens),
        int(tokens.sum()),
        float(difference.max()),
        int((difference > ROUNDING + 1e-12).sum()),
        float(np.nanmedian((high - low) / 2)),
        float(np.mean(repeated)),
        *np.quantile(repeated, (0.025, 0.975)).tolist(),
    )


def halves_agree(loads: NDArray[np.int64], rng: np.random.Generator) -> float:
    """Compute the share of the experts selected on one random half of the documents that the other half selects."""
    order = rng.permutation(len(loads))
    halves = [loads[part].sum(axis=0) for part in np.array_split(order, 2)]
    shares = [half / half.sum(axis=1, keepdims=True) for half in halves]
    kept = [
        len(selected(a) & selected(b)) / len(selected(a)) for a, b in zip(shares[0], shares[1], strict=True)
    ]
    return float(np.mean(kept))


TEXT = """# The load of DeepSeek-V2-Lite, recomputed

Made by `python -m analyses.deepseek_load`.

**Claim.** The trace reproduces the loads that the authors of ESFT published (Wang et al. 2024;
deepseek-ai/ESFT @579a771) to rounding: the share of each of 64 experts in the choices of each of 26
layers, on four data sets.

**Method.** All tokens are counted, shared beginnings in every document. Intervals of the shares have
documents as the units. The last column repeats the authors' selection (`--score_function=token
--top_p=0.2` in their script): of the experts that together have 20 % of a layer's choices in one random
half of the documents, the share that the other half selects too, with its central 95 % over {halves}
divisions.

{agreement}

## Conclusion

{verdict} The trace is the authors' own record of each token, so that this checks the reading and counting
of the trace. As estimates for the data sets the published figures have a sampling error: the median
half-width of an interval over documents is {ratio_low:.0f} to {ratio_high:.0f} times the rounding error.
The fourth decimal of a share describes these documents only, and where they are few also the third. The
selection of experts is stable, least where documents are few.
"""


def main() -> None:
    """Compare all four data sets and write reports/analyses/deepseek_load.md."""
    trace = rs.Trace.open(TRACES / "deepseek-v2-lite-esft", template="keep")
    routers = trace.routers()
    layers, experts, top_k = [router.layer for router in routers], routers[0].n_experts, routers[0].top_k
    loads, tokens, domains = count_documents(trace)
    rng = np.random.default_rng(0)
    found = []
    for name in np.unique(domains).tolist():
        here, figures = domains == name, published(name, layers, experts)
        found.append(compare(name, loads[here], tokens[here], figures, top_k, rng))
    header = [
        "data set",
        "documents",
        "tokens",
        "largest difference",
        "shares that differ by more than rounding",
        "median half-width of the 95 % interval",
        "selected by both halves",
    ]
    rows = [
        [
            one.domain,
            str(one.documents),
            f"{one.tokens:,}",
            f"{one.largest:.6f}",
            f"{one.beyond} of {len(layers) * experts:,}",
            f"{one.half_width:.4f}",
            f"{one.repeated:.2f} ({one.repeated_low:.2f} … {one.repeated_high:.2f})",
        ]
        for one in found
    ]
    exact = all(one.beyond == 0 for one in found)
    total = len(found) * len(layers) * experts
    text = TEXT.format(
        halves=HALVES,
        agreement=table(header, rows),
        verdict=f"All {total:,} shares agree to rounding."
        if exact
        else f"{sum(one.beyond for one in found)} of {total:,} shares do not agree to rounding.",
        ratio_low=min(one.half_width for one in found) / ROUNDING,
        ratio_high=max(one.half_width for one in found) / ROUNDING,
    )
    print(text)
    write("deepseek_load.md", filled(text))


if __name__ == "__main__":
    main()
