"""Compare predictors without a hidden state with the recorded gate, one to eight layers ahead.

Claim
    The choice that a layer's own gate makes from an earlier hidden state is the best prediction of the next layer. It
    becomes worse with the distance faster than a prediction from token ids and routing, which needs no hidden state
    and is known earlier; from some distance on, the table is better.
Data
    The trace of the tiny Mixtral with recorded lookahead, 1 … 8 layers ahead: 24,266 tokens of 77 documents, in five
    domains. The gate needs no training documents. The tables are fitted to what is a small trace, nine tenths of it.
Method
    Every predictor is scored on the same tokens of the same target layers at every distance: those that have a layer
    eight before them. Tables are fitted to nine folds of documents and scored on the tenth. The difference from the
    gate has an interval over documents. A table is better from the first distance at which the interval of the
    difference in its favour excludes zero. The best table is fitted again to two thirds of the documents, which shows
    how much the size of the trace limits it.
What would refute it
    No table is better at any distance that was recorded, or the gate loses less with the distance than the tables.
"""

from collections.abc import Sequence

import routestat as rs
from analyses.output import TRACES, Line, filled, interval, lines_svg, table, write
from routestat.counting.board_rows import FOLDS, board_rows
from routestat.counting.document_sample import take_sample
from routestat.forecast.board import make_board, mean_board
from routestat.forecast.catalogue import specification
from routestat.forecast.gate import lookahead_columns
from routestat.forecast.gate_horizons import GateHorizons, first_horizon_beaten
from routestat.forecast.scores import PredictionScore
from routestat.forecast.specification import BoardPlan
from routestat.inference.base.estimate import Estimate

TRACE = "tiny-mixtral-lookahead"
GATE = "gate"
#: The last of them is fitted again to fewer documents.
TABLES = ("popularity", "layer-1", "ridge-all", "token-id", "ridge-all-token-id")
SCORES = {"recall_at_k": "recall@2", "exact_set": "exact pair"}
HORIZONS = tuple(range(1, 9))
SHOWN = (1, 4, 5, 7, 8)
#: With three folds, two thirds of the documents are fitted to.
FEWER_FOLDS = 3


def board_of(
    trace: rs.Trace,
    horizons: Sequence[int] = HORIZONS,
    names: Sequence[str] = (*TABLES, GATE),
    folds: int = FOLDS,
) -> tuple[PredictionScore, ...]:
    """Fit predictors and score them and the recorded gate at every horizon.

    Parameters
    ----------
    trace
        With the columns of lookahead.
    horizons
        Layers ahead.
    names
        Of predictors.
    folds
        Documents of a fold are predicted from the others.
    """
    routers = trace.routers()
    recorded = [one.column for one in lookahead_columns(trace.columns, routers) if one.horizon in horizons]
    rows = board_rows(take_sample(trace, companions=recorded), routers, folds)
    plan = BoardPlan(horizons=tuple(horizons), calibrate=False, threads=2)
    return make_board(rows, "subset", plan, specs=[specification(name) for name in names])


def on_shared_targets(board: Sequence[PredictionScore]) -> list[PredictionScore]:
    """Keep the targets that the gate has at every horizon, so that distances are compared on the same layers."""
    horizons = {one.horizon for one in board if one.predictor == GATE}
    have = [{one.router for one in board if (one.predictor, one.horizon) == (GATE, n)} for n in horizons]
    shared = set.intersection(*have)
    return [one for one in board if one.router in shared]


def by_horizon(board: Sequence[PredictionScore]) -> dict[int, dict[str, PredictionScore]]:
    """Pool scores over targets: by horizon, then by predictor."""
    horizons = sorted({one.horizon for one in board} - {0})
    return {n: {one.predictor: one for one in mean_board(board, n)} for n in horizons}


def scores_table(pooled: dict[int, dict[str, PredictionScore]], score: str) -> str:
    """Write one score of all predictors by horizon as a table."""
    names = next(iter(pooled.values()))
    rows = [[name, *(f"{pooled[n][name].estimate(score).value:.3f}" for n in pooled)] for name in names]
    return table(["layers ahead", *(str(n) for n in pooled)], rows)


def first_in_words(found: GateHorizons) -> str:
    """Say from which horizon on a predictor is better than the gate, at that and at all farther ones."""
    return "at no distance" if found.first is None else f"from {found.first} on"


def differences_table(found: Sequence[GateHorizons], shown: Sequence[int]) -> str:
    """Write from which horizon on each predictor is better, and some differences from the gate, as a table."""
    rows = []
    for one in found:
        by = dict(zip(one.horizons, one.differences, strict=True))
        differences = [signed_interval(by[n]) for n in shown]
        rows.append([one.predictor, SCORES[one.score], first_in_words(one), *differences])
    return table(["predictor", "score", "better than the gate", *(f"{n} ahead" for n in shown)], rows)


def signed_interval(estimate: Estimate) -> str:
    """Write a difference with its sign and its interval."""
    return f"{estimate.value:+.3f} ({estimate.low:+.3f} … {estimate.high:+.3f})"


TEXT = """# From which distance on is a table better than the gate?

Made by `python -m analyses.table_against_gate`.

**Claim.** A layer's own gate, applied to the hidden state of an earlier layer, predicts the next layer best. With
the distance it becomes worse faster than a table of routing and token ids, which needs no hidden state. From some
distance on the table is better.

**Data.** The tiny Mixtral (8 experts, top 2) with recorded lookahead, 1 … 8 layers ahead: {counted} of {tokens} tokens
(repeated beginnings of documents are counted once) of {documents} documents of five domains. **The trace is small.**
The gate is a part of the model and needs no documents; the tables are fitted to nine tenths of these, and one of them
again to two thirds, below. The model is small too, and its choices depend strongly on the token's id: the distances are
those of this model only.

**Method.** All predictors are scored on the same tokens of the same {targets} target layers ({first} to {last}) at
every distance, on documents that they were not fitted to. Differences are paired by documents; 95 % intervals. No table
uses a hidden state: `ridge-all` uses all layers up to n before the target, and all layers of the previous token;
`ridge-all-token-id` also the ids of both tokens; `token-id` and `popularity` use no layer of the token, so that they
are the same at every distance.

**What would refute it.** No table is better at any distance that was recorded, or the gate loses less with the distance
than the tables.

## Recall of the two experts

{recall}

## Both experts right

{exact}

![Recall by layers ahead]({picture})

Recall of the two experts by layers ahead. Shaded: 95 % intervals over documents.

## Difference from the gate

{differences}

## How much the size of the trace matters

Fitted to two thirds of the documents instead of nine tenths, `{best}` reaches

{fewer}

The gate does not depend on the documents and the table improves with their number, so that a larger trace of this model
is expected to have a smaller distance from which on the table is better.

## Conclusion

{conclusion}
"""


def fewer_table(more: Sequence[PredictionScore], fewer: Sequence[PredictionScore], name: str) -> str:
    """Write the recall of a predictor that was fitted to more and to fewer documents, beside the gate, as a table."""
    rows = []
    for words, board in (("nine tenths", more), ("two thirds", fewer)):
        pooled = by_horizon(board)
        first = first_in_words(first_horizon_beaten(board, name, GATE))
        rows.append([words, *(interval(pooled[n][name].estimate("recall_at_k"), 3) for n in SHOWN), first])
    return table(["fitted to", *(f"{n} ahead" for n in SHOWN), "better than the gate"], rows)


def conclusion(board: Sequence[PredictionScore]) -> str:
    """State from which distances on the tables are better, and what the gate and the best table lose, in words."""
    near, far = (by_horizon(board)[n] for n in (HORIZONS[0], HORIZONS[-1]))
    best = TABLES[-1]
    found = {name: first_horizon_beaten(board, name, GATE) for name in TABLES}
    exact = first_horizon_beaten(board, best, GATE, "exact_set")
    never = ", ".join(f"`{name}`" for name, one in found.items() if one.first is None)
    ahead = ", ".join(f"`{name}` {first_in_words(one)}" for name, one in found.items() if one.first)
    gate, table_ = (
        [scores[name].estimate("recall_at_k").value for scores in (near, far)] for name in (GATE, best)
    )
    return (
        f"From {HORIZONS[0]} to {HORIZONS[-1]} layers ahead the recall of the gate falls from {gate[0]:.3f} to "
        f"{gate[1]:.3f}, that of `{best}` from {table_[0]:.3f} to {table_[1]:.3f}. Better than the gate by recall of "
        f"the two experts, with the number of layers ahead: {ahead or 'none'}; by both experts right: `{best}` "
        f"{first_in_words(exact)}. Better at no distance that was recorded: {never or 'none'}. Each interval holds for "
        "its own distance."
    )


def main() -> None:
    """Compare on the shipped trace, and write reports/analyses/table_against_gate.md with its picture."""
    trace, best = rs.Trace.open(TRACES / TRACE), TABLES[-1]
    board = on_shared_targets(board_of(trace))
    pooled = by_horizon(board)
    found = [first_horizon_beaten(board, name, GATE, score) for name in TABLES for score in SCORES]
    fewer = on_shared_targets(board_of(trace, names=(best, GATE), folds=FEWER_FOLDS))
    lines = [
        Line(name, HORIZONS, [pooled[n][name].estimate("recall_at_k") for n in HORIZONS])
        for name in (GATE, *TABLES[::-1])
    ]
    targets = sorted({one.target for one in board})
    picture = "table_against_gate.svg"
    text = TEXT.format(
        counted=f"{trace.n_counted:,}",
        tokens=f"{trace.n_tokens:,}",
        documents=trace.documents.num_rows,
        targets=len(targets),
        first=targets[0],
        last=targets[-1],
        recall=scores_table(pooled, "recall_at_k"),
        exact=scores_table(pooled, "exact_set"),
        picture=picture,
        differences=differences_table(found, SHOWN),
        best=best,
        fewer=fewer_table(board, fewer, best),
        conclusion=conclusion(board),
    )
    print(text)
    write(picture, lines_svg(lines, "layers ahead", "recall of the two experts"))
    write("table_against_gate.md", filled(text))


if __name__ == "__main__":
    main()
