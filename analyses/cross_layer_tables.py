"""Measure the dependence of layers 0, 7 and 15 in the published tables of Mixtral-8x7B and OLMoE-1B-7B.

Claim
    The first choices of layers 8 or 7 layers apart are dependent in both models, in all five kinds of text, and for
    OLMoE-1B-7B more than for Mixtral-8x7B also as a share of the entropy.
Data
    data/published/olmoe-tables: tokens by the first choices of two layers, 208,896 tokens of each text; and the traces
    of the tiny Mixtral and of DeepSeek-V2-Lite, which have documents.
Method
    Plug-in mutual information and Theil's U of each table, of the five pooled, and within texts. The tables have no
    documents, so that no error, interval or p-value of dependent tokens can be had from one of them. Two things can:
    how large a design effect would have to be for independent layers to give as much information, beside the design
    effects of traces that have documents; and whether the texts, which have no token in common, deviate from
    independence in the same cells. Random renumberings of the experts of one of two texts give the null distribution.
What would refute it
    A design effect of the measured size explains the information, or the deviations of different texts are no more
    alike than after renumbering.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

import routestat as rs
from analyses.first_choice_tables import (
    RENUMBERINGS,
    Likeness,
    dependence,
    first_choices,
    from_other_texts,
    likeness,
)
from analyses.output import ROOT, TRACES, filled, table, write
from routestat.counting.document_sample import take_sample

PUBLISHED = ROOT / "data" / "published" / "olmoe-tables" / "olmoe_repo_tables.npz"
MODELS = {"mixtral_8x7b": ("Mixtral-8x7B", 2), "olmoe_1b_7b": ("OLMoE-1B-7B", 8)}
TEXTS = ("arxiv", "book", "c4", "github", "wikipedia")
LAYERS = ((0, 7), (7, 15))


def with_documents() -> tuple[str, float]:
    """Write the same measures for two traces that have documents, and return the largest design effect."""
    rows, effects = [], []
    for name, words, pairs in (
        ("tiny-mixtral", "tiny Mixtral", LAYERS),
        ("deepseek-v2-lite-esft", "DeepSeek-V2-Lite", ((1, 8), (7, 15))),
    ):
        trace = rs.Trace.open(TRACES / name)
        companions = [f"{router.name}.top1" for router in trace.routers()]
        sample = take_sample(trace, companions=companions)
        for source, target in pairs:
            tables = first_choices(sample, source, target)
            one, found = dependence(tables.sum(axis=0)), rs.independence(tables)
            bits = rs.mutual_information_interval(tables)
            effects.append(found.design_effect)
            rows.append(
                [
                    words,
                    f"{source} → {target}",
                    f"{one.tokens:,}",
                    f"{one.bits:.3f}",
                    f"{bits.mi_bits:.3f} ({bits.low:.3f} … {bits.high:.3f})",
                    f"{100 * bits.mi_bits / one.entropy:.1f}",
                    f"{found.design_effect:.1f}",
                    f"{one.needed:.0f}",
                ]
            )
    header = [
        "model",
        "layers",
        "tokens",
        "plug-in, bits",
        "jackknife over documents, bits",
        "% of H(target)",
        "design effect",
        "design effect needed",
    ]
    return table(header, rows), max(effects)


def read() -> dict[str, NDArray[np.int64]]:
    """Read the published tables."""
    with np.load(PUBLISHED, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def by_text(tables: dict[str, NDArray[np.int64]], effect: float) -> str:
    """Write every table of first choices as a row; `effect` is the design effect at which the bias is given."""
    rows = []
    for model, (words, _) in MODELS.items():
        for place, (source, target) in enumerate(LAYERS):
            for text in TEXTS:
                own, *others = (
                    tables[f"{model}/cross_top1/{name}"][place]
                    for name in sorted(TEXTS, key=lambda name: name != text)
                )
                one = dependence(own)
                rows.append(
                    [
                        words,
                        f"{source} → {target}",
                        text,
                        f"{one.bits:.3f}",
                        f"{from_other_texts(own, others):.3f}",
                        f"{one.entropy:.2f}",
                        f"{100 * one.share:.1f}",
                        f"{100 * one.busiest:.0f}",
                        f"{one.bias * effect:.3f}",
                        f"{one.needed:.0f}",
                    ]
                )
    header = ["model", "layers", "text", "plug-in, bits", "from the other texts, bits"]
    header += ["H(target), bits", "% of H(target)", "busiest source expert, %"]
    header += [f"bits of independent layers, design effect {effect:.0f}", "design effect needed"]
    return table(header, rows)


def pooled(tables: dict[str, NDArray[np.int64]], rng: np.random.Generator) -> tuple[str, list[Likeness]]:
    """Write pooled and within-text information, and how alike the texts' deviations are."""
    rows, alike = [], []
    for model, (words, _) in MODELS.items():
        for place, (source, target) in enumerate(LAYERS):
            cubes = [tables[f"{model}/cross_top1/{text}"][place] for text in TEXTS]
            stack = np.stack(cubes)
            every = [
                rs.mutual_information(part)
                for part in (stack.sum(axis=0), stack.sum(axis=2), stack.sum(axis=1))
            ]
            within = rs.conditional_mutual_information(stack.transpose(1, 0, 2))
            same = likeness(cubes, rng)
            alike.append(same)
            rows.append([words, f"{source} → {target}", f"{every[0]:.3f}", f"{within:.3f}"])
            rows[-1] += [f"{every[1]:.3f}", f"{every[2]:.3f}"]
            rows[-1] += [f"{min(same.cosines):.2f} … {max(same.cosines):.2f}"]
            rows[-1] += [f"{same.renumbered:.2f}", f"{same.p:.3f}"]
    header = ["model", "layers", "pooled, bits", "within texts, bits", "text and source, bits"]
    header += ["text and target, bits", "cosines of the texts' deviations"]
    header += [f"largest mean of {RENUMBERINGS} renumberings", "p"]
    return table(header, rows), alike


def slots(tables: dict[str, NDArray[np.int64]]) -> str:
    """Write what the tables of equal slots hold, from the first choices and from the rest."""
    rows = []
    for model, (words, top_k) in MODELS.items():
        for place, (source, target) in enumerate(LAYERS):
            sums = [
                sum(tables[f"{model}/{kind}/{text}"][place] for text in TEXTS)
                for kind in ("cross_top1", "cross")
            ]
            first, every = (np.asarray(one) for one in sums)
            bits = [rs.mutual_information(one) for one in (first, every, every - first)]
            rows.append(
                [words, f"{source} → {target}", f"{top_k} of {top_k**2}", *(f"{one:.3f}" for one in bits)]
            )
    rows += [slots_of_tiny(source, target) for source, target in LAYERS]
    header = ["model", "layers", "pairs of slots counted", "first with first, bits"]
    header += ["slot r with slot r", "without the first"]
    return table(header, rows)


def slots_of_tiny(source: int, target: int) -> list[str]:
    """Write the row of the tiny Mixtral in `slots`, with every slot and with the sets, which a trace has."""
    trace = rs.Trace.open(TRACES / "tiny-mixtral")
    wanted = [router.name for router in trace.routers([source, target])]
    sample = take_sample(trace, [source, target], companions=[f"{name}.top1" for name in wanted])
    experts, states = [], []
    for router in sample.routers:
        state, first = sample.columns[router.name], sample.columns[f"{router.name}.top1"].astype(np.int64)
        pair = router.alphabet.unrank(state).astype(np.int64)
        experts.append(np.stack([first, pair.sum(axis=1) - first], axis=1))
        states.append(state.astype(np.int64))

    def bits(one: NDArray[np.int64], other: NDArray[np.int64], size: int) -> float:
        counts = np.zeros((size, size), np.int64)
        np.add.at(counts, (one.ravel(), other.ravel()), 1)
        return rs.mutual_information(counts)

    a, b = experts
    numbers = [
        bits(a[:, :1], b[:, :1], 8),
        bits(a, b, 8),
        bits(a[:, 1:], b[:, 1:], 8),
        bits(np.repeat(a, 2, axis=1), np.tile(b, 2), 8),
        bits(states[0], states[1], 28),
    ]
    words = [f"{one:.3f}" for one in numbers]
    note = f"2 of 4 (all 4: {words[3]}; the two sets: {words[4]})"
    return ["tiny Mixtral", f"{source} → {target}", note, *words[:3]]


def labels(tables: dict[str, NDArray[np.int64]]) -> str:
    """Write how often two layers have the same id first, and what other numberings would give."""
    rows = []
    for model, (words, _) in MODELS.items():
        for place, (source, target) in enumerate(LAYERS):
            shares = [tables[f"{model}/cross_top1/{text}"][place] for text in TEXTS]
            found, extremes = [], []
            for one in shares:
                p = one / one.sum()
                found.append(float(np.trace(p)))
                extremes += [float(p[linear_sum_assignment(p, maximize=m)].sum()) for m in (False, True)]
            rows.append(
                [
                    words,
                    f"{source} → {target}",
                    f"{1 / len(shares[0]):.3f}",
                    f"{min(found):.3f} … {max(found):.3f}",
                    f"{min(extremes[::2]):.3f} … {max(extremes[1::2]):.3f}",
                ]
            )
    return table(["model", "layers", "1 / E", "same id first, over the texts", "any numbering"], rows)


def span(values: list[float], digits: int) -> str:
    """Write the smallest and the largest of some values."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


TEXT = """# How dependent are distant layers of Mixtral-8x7B and OLMoE-1B-7B?

Made by `python -m analyses.cross_layer_tables`.

**Claim.** The first choices of layers 7 or 8 layers apart are dependent in both models and in all five kinds of
text that the OLMoE repository counted (allenai/OLMoE @357454f; Muennighoff et al. 2024); no information is given
there.

**Data.** For each text 208,896 tokens (102 windows of 2,048), by the expert of the largest weight at two layers.
The margins of every table equal the separately published counts. There are no documents.

**Method.** Plug-in mutual information, in bits and as a share of H(target) (Theil's U). Nothing in one table shows
how dependent its tokens are, so that it has no interval and no p-value here. Three things can be stated. *Design
effect needed*: independent layers have a plug-in of δ df / (2 n) nats on average, with a design effect δ; this is
the δ that would give all of the information. *From the other texts*: how well the dependence in the other four
texts predicts this one (half their log lifts, fitted to its own margins), a lower bound of its information that
dependent tokens do not inflate, as texts have none in common. *Cosines*: how alike the deviations from independence
are in two texts, against {renumberings} random renumberings of the experts of every text.

## First choices of two layers, text by text

{by_text}

## Together, and alike in the five texts

{pooled}

## The same measures where there are documents

{documents}

## What the tables of all choices hold

The other tables of the repository pair slot r of one layer with slot r of the other and no slot with another (`zip`
of the flattened choices), k of the k² pairs of a token. Their margins are right; their cells are a mixture over r
of tables of equal rank. The tables of the first choices can be subtracted from them, and no cell becomes negative.

{slots}

## The ids of the experts

{labels}

## Conclusion

First choices of layers 7 and 15 share {mixtral} bits in Mixtral-8x7B and {olmoe} bits in OLMoE-1B-7B
({mixtral_share} and {olmoe_share} % of the entropy of the target), those of layers 0 and 7 {mixtral_first} and
{olmoe_first} bits. OLMoE-1B-7B has more in bits and as a share of the entropy, in every text. The dependence is
real in both: what the other texts have predicts every text (by {bound_mixtral} and {bound_olmoe} bits, {above_zero}
of 20 above zero), and the texts deviate from independence in the same cells, with p = {p:.3f} in all four cases,
the smallest that {renumberings} renumberings can give.

Its size is less certain. For Mixtral-8x7B a design effect of {needed_mixtral} would be needed to explain all of it;
the largest in the traces with documents is {effect:.0f}. For OLMoE-1B-7B, {needed_olmoe} would be enough, because
the table has 3,969 degrees of freedom for as many tokens: at a design effect of {effect:.0f} some {bias_olmoe} bits
of each figure would be bias. A table this wide has a smaller one where it can be measured (2.5 in DeepSeek-V2-Lite,
whose documents are short). But the plug-in of OLMoE-1B-7B is an upper figure, and what the other texts predict is a
lower one.

Pooling the texts changes the answer in opposite directions: in Mixtral-8x7B the pooled tables share less than a
text does on average ({pooled_mixtral} against {within_mixtral} bits between layers 7 and 15), because the texts
differ in how layers depend; in OLMoE-1B-7B more ({pooled_olmoe} against {within_olmoe}), because experts there
follow the text: text and first choice share {text_olmoe} bits. What part of the rest is due to documents and to
token ids cannot be known from these tables.

A first choice is a small part of a choice: in the tiny Mixtral, layers 7 and 15 share 0.13 bits by first choices
and 0.58 by the two sets. Tables of equal slots give less than first choices do, since they mix ranks; they are not
the dependence of the sets, which nobody can recover from them. The share of tokens with the same id first is within
what renumbering gives in every case; it measures labels.
"""


def main() -> None:
    """Write reports/analyses/cross_layer_tables.md."""
    tables, rng = read(), np.random.default_rng(0)
    documents, effect = with_documents()
    together, alike = pooled(tables, rng)
    every = {
        (model, place): [dependence(tables[f"{model}/cross_top1/{text}"][place]) for text in TEXTS]
        for model in MODELS
        for place in range(2)
    }
    stacks = {
        model: np.stack([tables[f"{model}/cross_top1/{text}"][1] for text in TEXTS]) for model in MODELS
    }
    mixtral, olmoe = every["mixtral_8x7b", 1], every["olmoe_1b_7b", 1]
    whole = {name: rs.mutual_information(stack.sum(axis=0)) for name, stack in stacks.items()}
    within = {
        name: rs.conditional_mutual_information(stack.transpose(1, 0, 2)) for name, stack in stacks.items()
    }
    both = {name: [one for place in range(2) for one in every[name, place]] for name in MODELS}
    bounds = {
        name: [
            from_other_texts(cubes[at], [*cubes[:at], *cubes[at + 1 :]])
            for place in range(2)
            for cubes in [[tables[f"{name}/cross_top1/{text}"][place] for text in TEXTS]]
            for at in range(len(TEXTS))
        ]
        for name in MODELS
    }
    by_source = [rs.mutual_information(stacks["olmoe_1b_7b"].sum(axis=axis)) for axis in (2, 1)]
    text = TEXT.format(
        renumberings=RENUMBERINGS,
        by_text=by_text(tables, effect),
        pooled=together,
        documents=documents,
        slots=slots(tables),
        labels=labels(tables),
        mixtral=span([one.bits for one in mixtral], 2),
        olmoe=span([one.bits for one in olmoe], 2),
        mixtral_share=span([100 * one.share for one in mixtral], 1),
        olmoe_share=span([100 * one.share for one in olmoe], 1),
        mixtral_first=span([one.bits for one in every["mixtral_8x7b", 0]], 2),
        olmoe_first=span([one.bits for one in every["olmoe_1b_7b", 0]], 2),
        bound_mixtral=span(bounds["mixtral_8x7b"], 2),
        bound_olmoe=span(bounds["olmoe_1b_7b"], 2),
        above_zero=sum(one > 0 for found in bounds.values() for one in found),
        p=max(one.p for one in alike),
        needed_mixtral=span([one.needed for one in both["mixtral_8x7b"]], 0),
        needed_olmoe=span([one.needed for one in both["olmoe_1b_7b"]], 0),
        effect=effect,
        bias_olmoe=f"{effect * np.mean([one.bias for one in both['olmoe_1b_7b']]):.1f}",
        pooled_mixtral=f"{whole['mixtral_8x7b']:.2f}",
        within_mixtral=f"{within['mixtral_8x7b']:.2f}",
        pooled_olmoe=f"{whole['olmoe_1b_7b']:.2f}",
        within_olmoe=f"{within['olmoe_1b_7b']:.2f}",
        text_olmoe=span(by_source, 2),
    )
    print(text)
    write("cross_layer_tables.md", filled(text))


if __name__ == "__main__":
    main()
