"""Compare the accuracy over all elements of a token × expert matrix with the recall of the chosen experts.

Claim
    A predictor's accuracy by element and its recall are different numbers. Of a token E elements are compared, of which
    E − k are zero whatever is predicted, so that predicting no expert at all is right in 1 − k / E of them.
Data
    The traces of the tiny Mixtral (8 experts, top 2; 100,000 tokens at most) and of DeepSeek-V2-Lite
    (64 experts, top 6).
Method
    Where k experts are predicted and a share R of the k chosen ones is among them, k (1 − R) elements are wrongly one
    and k (1 − R) wrongly zero: the accuracy is 1 − 2 k (1 − R) / E. The identity is checked on both traces by comparing
    matrices element by element. Predictors of the board are then scored both ways, on documents that they were not
    fitted to, with intervals over documents. A predictor that is trained on elements names every expert that it finds
    more probable than not instead of k; its accuracy and recall are computed from the reliability curves.
What would refute it
    Accuracies counted element by element that differ from the identity by more than rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import routestat as rs
from analyses.output import TRACES, filled, interval, table, write
from routestat.counting.board_rows import BoardRows, board_rows
from routestat.counting.document_sample import at_most, take_sample
from routestat.counting.score_sums import BINS
from routestat.forecast.board import make_board, mean_board
from routestat.forecast.catalogue import specification
from routestat.forecast.scores import PredictionScore
from routestat.forecast.specification import BoardPlan
from routestat.inference.base.estimate import Estimate, ratio

#: Predictors of each trace; the last is the best of them.
TINY = ("uniform", "popularity", "layer-1", "ridge-all-token-id")
DEEPSEEK = ("uniform", "popularity", "layer-1", "ridge-all")
MOST_ROWS = 100_000
#: Of the reliability curve the first bin whose experts count as predicted, and the least probability in it.
PREDICTED_BIN = 14
LEAST_PROBABILITY = (PREDICTED_BIN / BINS) ** 2
#: Experts chosen, and experts in all.
SHAPES = ((1, 8), (2, 8), (6, 64), (8, 128), (1, 128))
PUBLISHED = (0.90, 0.975)


@dataclass(frozen=True)
class BothWays:
    """A predictor's recall and its accuracy by element.

    Attributes
    ----------
    predictor
        Its name.
    recall, accuracy
        Where k experts are predicted.
    n_probable
        Experts for each token with a probability of at least `LEAST_PROBABILITY`; None without probabilities.
    recall_probable, accuracy_probable
        Where these are predicted.
    """

    predictor: str
    recall: Estimate
    accuracy: Estimate
    n_probable: Estimate | None = None
    recall_probable: Estimate | None = None
    accuracy_probable: Estimate | None = None


def accuracy_of_nothing(top_k: int, n_experts: int) -> float:
    """Return the accuracy by element of predicting no expert."""
    return 1 - top_k / n_experts


def accuracy_from_recall(recall: Estimate, top_k: int, n_experts: int) -> Estimate:
    """Return the accuracy by element of k predicted experts with this recall."""
    scale = 2 * top_k / n_experts
    value, low, high = (1 - scale * (1 - one) for one in (recall.value, recall.low, recall.high))
    return Estimate(value, low, high, scale * recall.standard_error, recall.n_groups, recall.reason)


def recall_from_accuracy(accuracy: float, top_k: int, n_experts: int) -> float:
    """Return the recall at which k predicted experts have this accuracy by element; below 0 where none has."""
    return 1 - (1 - accuracy) * n_experts / (2 * top_k)


def counted_accuracy(predicted: NDArray[np.integer], chosen: NDArray[np.integer], n_experts: int) -> float:
    """Compare the matrices of predicted and of chosen experts element by element.

    Parameters
    ----------
    predicted, chosen
        Experts `[token, k]`.
    n_experts
        Columns of the matrices.
    """
    matrices = np.zeros((2, len(chosen), n_experts), bool)
    for matrix, experts in zip(matrices, (predicted, chosen), strict=True):
        np.put_along_axis(matrix, experts.astype(np.int64), True, axis=1)
    return float((matrices[0] == matrices[1]).mean())


def largest_difference(rows: BoardRows, board: Sequence[PredictionScore]) -> float:
    """Return the largest difference of the identity from the matrices of the most used experts, over all layers.

    The most used experts are those of the documents outside the fold of a token, as on the board.
    """
    worst = 0.0
    for score in board:
        if score.predictor != "popularity":
            continue
        target = next(router for router in rows.routers if router.name == score.router)
        loads = rows.loads(target).astype(np.int64)
        order = np.argsort(loads - loads.sum(axis=0), axis=1, kind="stable")[:, : target.top_k]
        known = rows.known(target)
        chosen = rows.experts(target)[known]
        counted = counted_accuracy(order[rows.fold[known]], chosen, target.n_experts)
        derived = accuracy_from_recall(score.estimate("recall_at_k"), target.top_k, target.n_experts)
        worst = max(worst, abs(counted - derived.value))
    return worst


def both_ways(score: PredictionScore, top_k: int, n_experts: int) -> BothWays:
    """Compute the accuracy by element beside the recall, of k experts and of those that are more probable than not."""
    recall = score.estimate("recall_at_k")
    accuracy = accuracy_from_recall(recall, top_k, n_experts)
    if score.calibration is None:
        return BothWays(score.predictor, recall, accuracy)
    cells = score.cells
    tokens = cells.by_group(score.sums[:, 0])
    bins = cells.by_group(score.calibration)
    predicted = bins[:, PREDICTED_BIN:].sum(axis=1)
    n, right = predicted[:, 0], predicted[:, 2]
    wrong = n - right + top_k * tokens - right
    return BothWays(
        score.predictor,
        recall,
        accuracy,
        ratio(n, tokens),
        ratio(right, top_k * tokens),
        ratio(n_experts * tokens - wrong, n_experts * tokens),
    )


def scored_both_ways(found: Sequence[BothWays], top_k: int, n_experts: int) -> str:
    """Write recall and accuracy of predicting nothing and of predictors as a table."""
    nothing = f"{accuracy_of_nothing(top_k, n_experts):.4f}"
    rows = [["nothing", "0", nothing, "0", "0", nothing]]
    for one in found:
        if one.n_probable and one.recall_probable and one.accuracy_probable:
            probable = [
                f"{one.n_probable.value:.2f}",
                interval(one.recall_probable, 3),
                interval(one.accuracy_probable, 4),
            ]
            rows.append([one.predictor, interval(one.recall, 3), interval(one.accuracy, 4), *probable])
        else:
            rows.append(
                [one.predictor, f"{one.recall.value:.3f}", f"{one.accuracy.value:.4f}", "–", "–", "–"]
            )
    header = [
        "predictor",
        f"recall@{top_k}",
        f"accuracy by element, {top_k} predicted",
        "experts more probable than not",
        "their recall",
        "their accuracy by element",
    ]
    return table(header, rows)


def meaning_table() -> str:
    """Write what accuracies by element mean for several models as a table."""
    rows = []
    for top_k, n_experts in SHAPES:
        share = top_k / n_experts
        recalls = [recall_from_accuracy(one, top_k, n_experts) for one in PUBLISHED]
        rows.append(
            [
                f"{top_k} of {n_experts}",
                f"{accuracy_of_nothing(top_k, n_experts):.4f}",
                f"{1 - 2 * share * (1 - share):.4f}",
                *(f"{one:.3f}" if one >= 0 else "any set has more" for one in recalls),
            ]
        )
    header = ["experts chosen", "nothing", "k at random", *(f"recall at {one}" for one in PUBLISHED)]
    return table(header, rows)


def examine(
    trace: rs.Trace, names: Sequence[str], most: int = MOST_ROWS
) -> tuple[tuple[BothWays, ...], float, str]:
    """Score predictors both ways one layer ahead, and check the identity.

    Returns
    -------
    tuple of BothWays, float, str
        By predictor; the largest difference of the identity from counted matrices; the part of the trace.
    """
    routers, sample = trace.routers(), at_most(take_sample(trace), most)
    rows = board_rows(sample, routers)
    specs = [specification(name) for name in names]
    board = make_board(rows, "expert", BoardPlan(threads=2), specs=specs)
    shape = routers[0].top_k, routers[0].n_experts
    found = tuple(both_ways(score, *shape) for score in mean_board(board))
    return found, largest_difference(rows, board), sample.note or f"on all {len(sample):,} tokens"


TEXT = """# Accuracy by element and recall are different numbers

Made by `python -m analyses.accuracy_and_recall`.

**Claim.** ExpertFlow (He et al., arXiv 2410.17954) scores its predictor of routing by element of a token × expert
matrix, and reports more than 90 %. MoE-Beyond reports 97.5 % by element where predicting nothing is right in 90.6 %, as
with 6 of 64 experts. (Both figures are the authors'; they are not recomputed here.) This accuracy is not the share of
the needed experts that is found, recall@k: of a token's E elements, E − k are zero whatever is predicted, so that
predicting no expert at all is right in 1 − k / E of them.

**Derivation.** Let a predictor name k experts, a share R of which is among the k chosen ones. Then k (1 − R) elements
are one that should be zero, and k (1 − R) are zero that should be one; the others are right:

`accuracy = 1 − 2 k (1 − R) / E`

Accuracy is linear in recall, with a range from 1 − 2 k / E to 1 only. To name k experts is better than to name none
only if R > 1/2, whatever k and E are. However many experts are named, an accuracy a implies a recall of at least
1 − (1 − a) E / k.

**Method.** The identity is checked against matrices that are compared element by element, for the most used experts of
each layer (those of the other folds of documents). The largest difference over all layers of both traces is
{worst:.0e}. Predictors are then scored on documents that they were not fitted to, one layer ahead, over all layers
after the first; 95 % intervals over documents. On the right are the experts that a predictor finds more probable than
not, whatever their number, as one names them that is trained on elements (a probability of at least {least:.2f}, an
edge of the reliability curve's bins).

**What would refute it.** Accuracies counted element by element that differ from the identity by more than rounding.

## Tiny Mixtral (8 experts, top 2), {tiny_part}

{tiny}

## DeepSeek-V2-Lite (64 experts, top 6), {deepseek_part}

{deepseek}

## What an accuracy means

Accuracy by element of predicting nothing and of k experts at random, and the recall that k predicted experts have
at an accuracy of {published}:

{meaning}

## Conclusion

{conclusion}
"""


def conclusion(tiny: Sequence[BothWays], deepseek: Sequence[BothWays], shape: tuple[int, int]) -> str:
    """Compare the predictors of both traces with predicting nothing, in words.

    Parameters
    ----------
    tiny, deepseek
        By predictor, the best last.
    shape
        k and E of the second trace.
    """
    nothing = accuracy_of_nothing(*shape)
    worse = " and ".join(f"`{one.predictor}`" for one in deepseek if one.accuracy.high < nothing)
    best, other = deepseek[-1], tiny[-1]
    high = PUBLISHED[-1]
    return (
        f"The identity holds to rounding. On DeepSeek-V2-Lite predicting nothing is right in {nothing:.4f} of the "
        f"elements, more than {worse or 'no predictor'} with {shape[0]} experts. `{best.predictor}` finds "
        f"{best.recall.value:.3f} of the needed experts and is right in {best.accuracy.value:.4f} of the elements; on "
        f"the tiny Mixtral `{other.predictor}` finds {other.recall.value:.3f} and is right in "
        f"{other.accuracy.value:.4f}. Accuracies by element of models with different k and E cannot be compared, nor "
        f"can an accuracy with a recall: {high:g} on {shape[0]} of {shape[1]} experts is a recall of "
        f"{recall_from_accuracy(high, *shape):.3f} if {shape[0]} are named, and of at least "
        f"{1 - (1 - high) * shape[1] / shape[0]:.3f} however many are. Naming what is more probable than not has the "
        "higher accuracy and the lower recall. Report recall@k, beside that of the baselines."
    )


def main() -> None:
    """Score both traces both ways and write reports/analyses/accuracy_and_recall.md."""
    words: dict[str, str] = {}
    worst, scored = 0.0, {}
    for key, name, names in (("tiny", "tiny-mixtral", TINY), ("deepseek", "deepseek-v2-lite-esft", DEEPSEEK)):
        trace = rs.Trace.open(TRACES / name)
        shape = trace.routers()[0].top_k, trace.routers()[0].n_experts
        found, difference, part = examine(trace, names)
        words |= {key: scored_both_ways(found, *shape), f"{key}_part": part}
        worst = max(worst, difference)
        scored[key] = found
    text = TEXT.format(
        worst=worst,
        least=LEAST_PROBABILITY,
        published=" and ".join(f"{one:g}" for one in PUBLISHED),
        meaning=meaning_table(),
        conclusion=conclusion(scored["tiny"], scored["deepseek"], shape),
        **words,
    )
    print(text)
    write("accuracy_and_recall.md", filled(text))


if __name__ == "__main__":
    main()
