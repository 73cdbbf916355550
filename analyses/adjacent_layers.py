"""Compare the overlap of the expert ids of adjacent layers with measures of dependence that have no labels.

Claim
    The share of a token's expert ids that two adjacent layers have in common says nothing about their dependence. It
    depends on how the experts of each layer are numbered, which is arbitrary.
Data
    The traces of the tiny Mixtral (8 experts, top 2) and of DeepSeek-V2-Lite (64 experts, top 6), all adjacent layers.
Method
    Overlap is the mean number of common ids of layers l and l + 1, divided by k, with an interval over documents; by
    chance it is k / E. The experts of layer l + 1 are then renumbered at random, and by the assignments with the
    smallest and the largest overlap. The same tables give the clustered test of independence and the mutual
    information with its interval, before and after renumbering.
What would refute it
    The observed overlap lies outside the distribution over random labels where layers are dependent, or mutual
    information changes under renumbering.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

import routestat as rs
from analyses.output import TRACES, filled, histogram_svg, interval, table, write
from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.information.inclusion_information import inclusion_information
from routestat.inference.information.mutual_information import InformationInterval

RELABELLINGS = 1000
SHOWN_PAIR = 15


@dataclass(frozen=True, eq=False)
class PairOfLayers:
    """Overlap of ids and label-free dependence of two adjacent layers.

    Attributes
    ----------
    source, target
        Layer numbers.
    overlap
        Mean share of common ids, as recorded.
    chance
        k / E.
    relabelled
        `[relabelling]`: the overlap under random labels of the target's experts.
    above, below
        Shares of the relabellings whose 95 % interval lies above or below chance.
    least, most
        The smallest and the largest overlap that any labels give.
    bits
        Mutual information of one source slot and one target slot; in the state view of the two states.
    changed_bits
        Largest change of the plug-in mutual information under the relabellings that were tried; rounding only.
    log10_p
        Of the clustered test of independence, experts by experts.
    """

    source: int
    target: int
    overlap: Estimate
    chance: float
    relabelled: NDArray[np.float64]
    above: float
    below: float
    least: float
    most: float
    bits: InformationInterval
    changed_bits: float
    log10_p: float


def overlap(tables: NDArray[np.int64], labels: NDArray[np.int64], top_k: int) -> Estimate:
    """Estimate the mean share of a token's ids that both layers have, with an interval over groups.

    Parameters
    ----------
    tables
        How many of a group's tokens include i at the source and j at the target, `[group, source, target]`.
    labels
        `[target]`: the id that each target expert is given.
    top_k
        Experts of a token.
    """
    slots = tables.sum(axis=(1, 2)) / top_k
    target = np.argsort(labels)
    return ratio(tables[:, np.arange(len(target)), target].sum(axis=1), slots)


def extreme_overlap(total: NDArray[np.int64], top_k: int) -> tuple[float, float]:
    """Find the smallest and the largest overlap over all labels of the target's experts."""
    slots = total.sum() / top_k
    values = [
        float(total[linear_sum_assignment(total, maximize=largest)].sum() / slots)
        for largest in (False, True)
    ]
    return values[0], values[1]


def examine(
    pair: tuple[int, int],
    tables: NDArray[np.int64],
    top_k: int,
    bits: InformationInterval,
    rng: np.random.Generator,
    relabellings: int = RELABELLINGS,
) -> PairOfLayers:
    """Compute the results for one pair of adjacent layers.

    Parameters
    ----------
    pair
        Layer numbers.
    tables
        Tables of experts `[group, source, target]`.
    top_k
        Experts of a token.
    bits
        Mutual information with its interval.
    rng
        Draws the labels.
    relabellings
        How many random labels to draw.
    """
    experts = tables.shape[2]
    chance = top_k / experts
    drawn, above, below, changed = np.empty(relabellings), 0, 0, 0.0
    total = tables.sum(axis=0)
    plain = rs.mutual_information(total, estimator="plugin")
    for place in range(relabellings):
        labels = rng.permutation(experts)
        estimate = overlap(tables, labels, top_k)
        drawn[place] = estimate.value
        above += estimate.low > chance
        below += estimate.high < chance
        if place < 20:
            again = rs.mutual_information(total[:, labels], estimator="plugin")
            changed = max(changed, abs(again - plain))
    tokens = tables.sum(axis=(1, 2)) // top_k**2
    test = rs.independence_experts(tables, tables.sum(axis=2) // top_k, tables.sum(axis=1) // top_k, tokens)
    return PairOfLayers(
        *pair,
        overlap(tables, np.arange(experts), top_k),
        chance,
        drawn,
        above / relabellings,
        below / relabellings,
        *extreme_overlap(total, top_k),
        bits,
        changed,
        test.log10_p_clustered,
    )


def examine_trace(name: str, seed: int = 0) -> list[PairOfLayers]:
    """Examine all pairs of adjacent layers of one trace of the project."""
    trace = rs.Trace.open(TRACES / name)
    context, rng = rs.Context.layer(1), np.random.default_rng(seed)
    counts = rs.count(trace, contexts=[context], states="expert")
    narrow = counts.routers[0].alphabet.size <= 1024
    states = rs.count(trace, contexts=[context], states="subset") if narrow else None
    found = []
    for source, target in pairwise(counts.routers):
        tables = counts.table(context, target).astype(np.int64)
        bits = (
            rs.mutual_information_interval(states.table(context, target))
            if states is not None
            else inclusion_information(tables, source.top_k, target.top_k)
        )
        found.append(examine((source.layer, target.layer), tables, target.top_k, bits, rng))
    return found


def summary(pairs: list[PairOfLayers]) -> str:
    """Summarise overlap and information over all pairs, as a table of two columns."""
    chance = pairs[0].chance
    above, below = sum(p.overlap.low > chance for p in pairs), sum(p.overlap.high < chance for p in pairs)
    inside = sum(
        bool(np.quantile(p.relabelled, 0.025) <= p.overlap.value <= np.quantile(p.relabelled, 0.975))
        for p in pairs
    )
    rows = [
        ["overlap by chance, k / E", f"{chance:.4f}"],
        ["mean overlap over the pairs, as labelled", f"{np.mean([p.overlap.value for p in pairs]):.4f}"],
        [
            "pairs whose overlap is above, equal to, below chance (95 % intervals)",
            f"{above}, {len(pairs) - above - below}, {below}",
        ],
        [
            "the same for random labels, mean % of labellings",
            f"{100 * np.mean([p.above for p in pairs]):.0f}, "
            f"{100 * np.mean([1 - p.above - p.below for p in pairs]):.0f}, "
            f"{100 * np.mean([p.below for p in pairs]):.0f}",
        ],
        ["pairs whose overlap lies in the central 95 % of random labels", f"{inside} of {len(pairs)}"],
        [
            "smallest and largest overlap that some labels give, mean over pairs",
            f"{np.mean([p.least for p in pairs]):.3f}, {np.mean([p.most for p in pairs]):.3f}",
        ],
        [
            "mutual information, smallest to largest, bits",
            f"{min(p.bits.mi_bits for p in pairs):.3f} … {max(p.bits.mi_bits for p in pairs):.3f}",
        ],
        [
            "pairs whose interval of mutual information is above 0",
            f"{sum(p.bits.low > 0 for p in pairs)} of {len(pairs)}",
        ],
        ["clustered test of independence, largest log10 p", f"{max(p.log10_p for p in pairs):.1f}"],
        [
            "largest change of mutual information under renumbering, bits",
            f"{max(p.changed_bits for p in pairs):.0e}",
        ],
    ]
    return table(["", f"{len(pairs)} pairs"], rows)


def listed(pairs: list[PairOfLayers], step: int) -> str:
    """Write every `step`-th pair of layers with its intervals as a table."""
    rows = []
    for p in pairs[::step]:
        low, high = np.quantile(p.relabelled, (0.025, 0.975))
        rows.append(
            [
                f"{p.source} → {p.target}",
                interval(p.overlap, 3),
                f"{low:.3f} … {high:.3f}",
                f"{p.least:.3f} … {p.most:.3f}",
                f"{p.bits.mi_bits:.3f} ({p.bits.low:.3f} … {p.bits.high:.3f})",
                f"{p.log10_p:.1f}",
            ]
        )
    header = [
        "layers",
        "overlap",
        "95 % of random labels",
        "any labels",
        "mutual information, bits",
        "log10 p",
    ]
    return table(header, rows)


TEXT = """# Are adjacent layers independent?

Made by `python -m analyses.adjacent_layers`.

**Claim.** Several tools (Megatron-LM's `tools/moe_routing`, mbolt, mlx-lm) compare the expert ids of
adjacent layers by their overlap or Jaccard index. Where there are about as many common ids as by chance,
this has been read as independence. But ids are labels within one layer: the number of common ids of two
layers does not measure their dependence.

**Method.** The overlap is the mean share of a token's ids that both layers have, with an interval over
documents. The experts of the second layer are renumbered at random, {relabellings} times for each pair of
layers. Mutual information and the clustered test of independence do not depend on labels.

## Tiny Mixtral (8 experts, top 2; information between the two pairs)

{tiny}

{tiny_pairs}

![Overlap of expert ids under random labels]({picture})

Overlap of ids of layers {shown} of the tiny Mixtral under {relabellings} random labels of the second
layer. The tokens, and the {bits:.2f} bits that the two layers share, are the same in every case.

## DeepSeek-V2-Lite (64 experts, top 6; information between two slots)

{deepseek}

{deepseek_pairs}

## Conclusion

Adjacent layers are dependent in both models: by every label-free measure, in every pair. The overlap of
ids does not measure this. As labelled, it is one draw from the distribution over random labels, whose
mean is k / E whatever the dependence is; in most pairs it is significantly different from chance, about
as often below as above. An overlap near chance is no evidence of independence. An overlap that differs
from chance can be the effect of unequal loads or of dependence, and its sign and size are those of the
labels. Use a measure that does not change under renumbering.
"""


def main() -> None:
    """Examine both traces and write reports/analyses/adjacent_layers.md with its picture."""
    tiny, deepseek = examine_trace("tiny-mixtral"), examine_trace("deepseek-v2-lite-esft")
    shown = tiny[SHOWN_PAIR]
    picture = "adjacent_layers.svg"
    text = TEXT.format(
        relabellings=f"{RELABELLINGS:,}",
        tiny=summary(tiny),
        tiny_pairs=listed(tiny, 5),
        picture=picture,
        shown=f"{shown.source} and {shown.target}",
        bits=shown.bits.mi_bits,
        deepseek=summary(deepseek),
        deepseek_pairs=listed(deepseek, 4),
    )
    print(text)
    marks = [(shown.chance, "chance, k / E"), (shown.overlap.value, "as labelled")]
    write(picture, histogram_svg(shown.relabelled, marks, "mean share of common expert ids"))
    write("adjacent_layers.md", filled(text))


if __name__ == "__main__":
    main()
