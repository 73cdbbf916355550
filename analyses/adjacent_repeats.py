"""Measure how often adjacent tokens choose the same experts, against four kinds of chance.

Claim
    Adjacent tokens repeat experts more often than random choices do, at middle and late layers more than at the first
    (Jiang et al. 2024, Mixtral of Experts, Table 5). A uniform random choice is not the right comparison: experts are
    not used equally, a document keeps to its subject, and neighbouring token ids are not arbitrary.
Data
    The traces of the tiny Mixtral (8 experts, top 2, token ids) and of DeepSeek-V2-Lite (64 experts, top 6), all
    layers, pairs of adjacent tokens of a document; and the ranges of the published Table 5.
Method
    The two measures of the Table. "First": the expert with the largest weight is the same. "Any": the two tokens have
    at least one expert in common, in whatever slot. By chance these are 1 / E and 1 - C(E - k, k) / C(E, k). They are
    compared with draws without replacement at the layer's own loads; with two tokens taken at random from the same
    document; and, where ids are recorded, with independent choices given the two token ids, whose distributions come
    from the other documents. Intervals have groups of documents as the units.
What would refute it
    Intervals of the excess over two tokens of the same document that include zero or lie below it.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

import routestat as rs
from analyses.output import TRACES, Line, filled, interval, lines_svg, table, write
from analyses.repeats import Repeats, choices, examine, measure, pairs_of, uniform_chance
from routestat.counting.document_sample import Sample, take_sample
from routestat.inference.base.estimate import Estimate, without_interval

#: Table 5 of the paper, in per cent: the range over its eight data sets at layers 0, 15 and 31 of Mixtral-8x7B.
PUBLISHED = {
    "first": {0: (13.6, 14.9), 15: (23.6, 28.4), 31: (19.7, 26.3)},
    "any": {0: (44.9, 49.9), 15: (61.6, 67.0), 31: (44.5, 53.6)},
}


def read(name: str) -> Sample:
    """Read all tokens of one of the project's traces with the expert of the largest weight."""
    trace = rs.Trace.open(TRACES / name)
    return take_sample(trace, companions=[f"{router.name}.top1" for router in trace.routers()])


def by_domain(sample: Sample, layers: Sequence[int], seed: int = 0) -> str:
    """Write the repeats of each domain in the form of Table 5, in per cent."""
    rng = np.random.default_rng(seed)
    of = np.array([sample.domains[int(number)] for number in sample.document])
    places = [[router.layer for router in sample.routers].index(layer) for layer in layers]
    header = ["domain", *(f"{what}, layer {layer}" for what in PUBLISHED for layer in layers)]
    rows = []
    for name in [*sorted(set(sample.domains.values())), "all"]:
        kept = np.full(len(sample), name == "all") | (of == name)
        pairs = pairs_of(sample, kept)
        cells = []
        for what in PUBLISHED:
            for place in places:
                subsets, state = choices(sample, place, what)
                experts = sample.routers[place].n_experts
                cells.append(measure(layers[0], subsets, state[kept], pairs, experts, rng))
        rows.append([name, *(interval(one.observed, 1, 100) for one in cells)])
        rows.append(["– one document", *(f"{100 * one.document:.1f}" for one in cells)])
    paper = [
        f"{low} … {high}" for what in PUBLISHED for low, high in (PUBLISHED[what][layer] for layer in layers)
    ]
    rows.append(["Mixtral-8x7B, eight data sets (Table 5)", *paper])
    return table(header, rows)


def by_layer(found: Sequence[Repeats], step: int) -> str:
    """Write every `step`-th layer, and the last, in per cent."""
    header = ["layer", "observed", "at the loads", "one document", "excess over one document"]
    ids = not np.isnan(found[0].by_token)
    header += ["different ids", "given the two ids", "excess over the ids"] if ids else []
    rows = []
    for one in sorted({*found[::step], found[-1]}, key=lambda one: one.layer):
        row = [str(one.layer), interval(one.observed, 1, 100)]
        row += [f"{100 * one.loads:.1f}", f"{100 * one.document:.1f}", interval(one.excess, 1, 100)]
        if ids:
            row += [f"{100 * one.unlike.value:.1f}", f"{100 * one.by_token:.1f}"]
            row.append(interval(one.beyond, 1, 100))
        rows.append(row)
    return table(header, rows)


def above(estimates: Sequence[Estimate]) -> str:
    """Count the layers whose interval lies above and below zero."""
    high, low = sum(one.low > 0 for one in estimates), sum(one.high < 0 for one in estimates)
    return f"above zero at {high}, below zero at {low} of {len(estimates)} layers"


def summary(tiny: dict[str, list[Repeats]], deepseek: dict[str, list[Repeats]]) -> str:
    """Count the layers where the excess over each kind of chance is above and below zero."""
    rows = [
        [
            model,
            what,
            above([one.excess for one in found[what]]),
            "no ids" if np.isnan(found[what][0].by_token) else above([one.beyond for one in found[what]]),
        ]
        for model, found in (("tiny Mixtral", tiny), ("DeepSeek-V2-Lite", deepseek))
        for what in PUBLISHED
    ]
    header = ["model", "measure", "excess over two tokens of one document", "excess over the two token ids"]
    return table(header, rows)


def picture(found: dict[str, list[Repeats]]) -> str:
    """Draw the share of adjacent pairs with an expert in common, and of two tokens of one document."""
    lines = []
    for model, rows in found.items():
        layers = [one.layer for one in rows]
        chance = [without_interval(one.document, one.observed.n_groups, "a reference") for one in rows]
        lines.append(Line(f"{model}, adjacent", layers, [one.observed for one in rows]))
        lines.append(Line(f"{model}, one document", layers, chance))
    return lines_svg(lines, "layer", "share of pairs with an expert in common")


TEXT = """# How often do adjacent tokens choose the same experts?

Made by `python -m analyses.adjacent_repeats`.

**Claim.** Jiang et al. (2024, Mixtral of Experts, Table 5) report that consecutive tokens of Mixtral-8x7B choose
the same experts more often than random choices would: hardly at layer 0, clearly at layers 15 and 31.

**Definitions.** *First*: the expert with the largest weight is the same for a token and the next one. By chance 1 /
8 = 12.5 %. *Any* (the paper's "first or second choice"): the two tokens have at least one of their two experts in
common, in whatever slot. By chance 1 − C(6, 2) / C(8, 2) = 1 − 15 / 28 = {pair:.1f} %, the 46 % of the paper; for 6
of 64 it is {six:.1f} %. Both figures hold for uniform choices only.

**Method.** {tiny_tokens} tokens of the tiny Mixtral and {deepseek_tokens} of DeepSeek-V2-Lite, without the
beginnings that documents have in common. Pairs of adjacent tokens of a document, across no boundary of a window.
Four kinds of chance: *uniform* as above; *at the loads*, two draws without replacement with the layer's own shares
of the experts (conditional Bernoulli); *one document*, two different tokens of the same document at random, which
keeps what the document is about and removes only the order; *given the two ids*, independent choices with the
distribution that each token id has in the other documents, over pairs of different ids. Intervals have groups of
documents as the units. In the tables by layer they hold for all layers of a column together (Bonferroni); in the
table by domain each is a 95 % interval.

## Tiny Mixtral in the form of Table 5 (per cent)

{domains}

## By depth (per cent)

{counted}

Tiny Mixtral, first choice

{tiny_first}

Tiny Mixtral, any

{tiny_any}

DeepSeek-V2-Lite (6 of 64), first choice; its uniform chance is {one:.1f} %

{deepseek_first}

DeepSeek-V2-Lite (6 of 64), any

{deepseek_any}

![Adjacent tokens with an expert in common]({picture})

## Conclusion

At the first layer neither model shows temporal locality: {tiny_zero} at layer 0 of the tiny Mixtral,
{deepseek_zero} at layer 1 of DeepSeek-V2-Lite (any, excess over two tokens of one document, percentage points); the
first choice of DeepSeek-V2-Lite repeats even less often there than in two tokens of one document. Beyond that both
models repeat. In the tiny Mixtral the excess is small up to the middle and largest at the last layer, {tiny_last};
there it is not explained by the token ids either, {tiny_ids}. In DeepSeek-V2-Lite it is {deepseek_low:.0f} to
{deepseek_high:.0f} points from layer 4 on, largest at layer {deepseek_at}. So the claim of the paper holds in these
two models with documents as the units, and for the order of the tokens rather than for what the documents are
about. The depth at which it holds is the model's own: Mixtral-8x7B repeats most at layer 15, the tiny Mixtral at
its last layer.

The uniform 12.5 % and 46 % are poor references. Two random tokens of one document have an expert in common in
{document_low:.0f} to {document_high:.0f} % of cases, depending on the layer (DeepSeek-V2-Lite, against {six:.1f}
%), and the first choice in common in {first_low:.0f} to {first_high:.0f} % (against {one:.1f} %). The loads alone
do not describe this: they ignore which experts are chosen together and what a document is about. A value above 46 %
is no locality by itself, and one below it need not be its absence: at the first layer of the tiny Mixtral, prose
repeats the first choice {prose}, less than two tokens of one document, because the choice there follows the token
id and a word is seldom followed by itself.

**Limits.** The published table has no intervals and no loads, so that its figures are quoted, not tested. The
traces are not of Mixtral-8x7B, and of some domains of the tiny Mixtral there are few documents ({few}). What a
token id predicts is learned from the other documents: ids in one document only are left out, and the dependence of
neighbouring ids on words of several tokens is counted as routing.
"""


def main() -> None:
    """Measure both traces and write reports/analyses/adjacent_repeats.md with its picture."""
    sample, other = read("tiny-mixtral"), read("deepseek-v2-lite-esft")
    tiny = {what: examine(sample, what, 1 - 0.05 / len(sample.routers)) for what in PUBLISHED}
    deepseek = {what: examine(other, what, 1 - 0.05 / len(other.routers)) for what in PUBLISHED}
    of = np.array([sample.domains[int(number)] for number in sample.document])
    kept = of == "prose"
    subsets, state = choices(sample, 0, "first")
    prose = measure(0, subsets, state[kept], pairs_of(sample, kept), 8, np.random.default_rng(0))
    later = [one for one in deepseek["any"] if one.layer >= 4]
    name = "adjacent_repeats.svg"
    text = TEXT.format(
        few=", ".join(f"{name} {n}" for name, n in sorted(Counter(sample.domains.values()).items())),
        tiny_tokens=f"{len(sample):,}",
        deepseek_tokens=f"{len(other):,}",
        pair=100 * uniform_chance(8, 2),
        six=100 * uniform_chance(64, 6),
        one=100 / 64,
        domains=by_domain(sample, (0, 15, 31)),
        counted=summary(tiny, deepseek),
        tiny_first=by_layer(tiny["first"], 3),
        tiny_any=by_layer(tiny["any"], 3),
        deepseek_first=by_layer(deepseek["first"], 3),
        deepseek_any=by_layer(deepseek["any"], 3),
        picture=name,
        tiny_zero=interval(tiny["any"][0].excess, 1, 100),
        deepseek_zero=interval(deepseek["any"][0].excess, 1, 100),
        tiny_last=interval(tiny["any"][-1].excess, 1, 100),
        tiny_ids=interval(tiny["any"][-1].beyond, 1, 100),
        deepseek_low=100 * min(one.excess.value for one in later),
        deepseek_high=100 * max(one.excess.value for one in later),
        deepseek_at=max(later, key=lambda one: one.excess.value).layer,
        document_low=100 * min(one.document for one in deepseek["any"]),
        document_high=100 * max(one.document for one in deepseek["any"]),
        first_low=100 * min(one.document for one in deepseek["first"]),
        first_high=100 * max(one.document for one in deepseek["first"]),
        prose=f"{interval(prose.observed, 1, 100)} against {100 * prose.document:.1f} %",
    )
    print(text)
    write(name, picture({"tiny Mixtral": tiny["any"], "DeepSeek": deepseek["any"]}))
    write("adjacent_repeats.md", filled(text))


if __name__ == "__main__":
    main()
