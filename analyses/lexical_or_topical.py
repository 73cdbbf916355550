"""Measure whether experts follow the words or the subject of a text: the tiny Mixtral, and Mixtral-8x7B on MMLU.

Claim
    Experts follow the token much more than the subject. The subject is there too: in the tiny Mixtral at one and the
    same token id, and in Mixtral-8x7B in the questions' own text, where it is small.
Data
    The trace of the tiny Mixtral: token ids and five kinds of text, 380 documents. Expert counts of Mixtral-8x7B for
    14,042 questions of 57 subjects of MMLU (data/published/mixtral-mmlu): whole prompts, without token ids.
Method
    Tiny Mixtral: mutual information of the two chosen experts with the domain and with the token id, each alone and
    given the other, jackknife over documents; the same after documents exchanged their domains. Mixtral-8x7B: the
    prompts of a subject begin with the same examples, so that their shares of experts are alike whatever experts do.
    The slope of an expert's count on the length of the prompt does not depend on what prompts have in common; it is
    its share of the questions' own text. Information of subject and choice from these slopes, jackknife over groups
    of questions; questions assigned to other subjects at random; halves of the questions; and the share of each
    subject and expert against the mean of the others, with the false discovery rate over all.
What would refute it
    Information of the domain at one token id as large as that of the token id in one domain; or subjects that differ
    no more than after questions were assigned to them at random.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

import routestat as rs
from analyses.output import ROOT, TRACES, Line, filled, interval, lines_svg, table, write
from analyses.questions import (
    GROUPS,
    PERMUTATIONS,
    Questions,
    Subjects,
    common_text,
    examine_questions,
    read_questions,
)
from routestat.counting.document_sample import Sample, take_sample
from routestat.errors import RoutestatError
from routestat.inference.base.estimate import Estimate
from routestat.study.specialisation import SpecialisationFindings, measure_specialisation
from routestat.traces.token_texts import read_token_texts

MMLU = ROOT / "data" / "published" / "mixtral-mmlu"
TOKENIZER = ROOT / "data" / "tiny-mixtral"
SHOWN_CELLS = 12
Measured = TypeVar("Measured")


def entropies(sample: Sample) -> list[float]:
    """Compute the entropy of the choice at each layer in bits."""
    return [
        rs.entropy(np.bincount(sample.columns[router.name].astype(np.int64))) for router in sample.routers
    ]


def part_of(estimate: Estimate, whole: float) -> Estimate:
    """Divide an estimate and its interval by a known number."""
    value, low, high, error = (
        one / whole for one in (estimate.value, estimate.low, estimate.high, estimate.standard_error)
    )
    return Estimate(value, low, high, error, estimate.n_groups)


def measured(value: Measured | None) -> Measured:
    """Return what the labels of a trace allow to be measured; a trace without ids or domains is an error here."""
    if value is None:
        raise RoutestatError("expected a trace with token ids and domains; use data/traces/tiny-mixtral")
    return value


def by_depth(found: SpecialisationFindings, slots: SpecialisationFindings, step: int) -> str:
    """Write every `step`-th layer of the tiny Mixtral, and the last, in bits."""
    header = ["layer", "token id given the domain", "domain given the token id", "… domains exchanged"]
    header += [
        "domain",
        "… domains exchanged",
        "domain, one slot",
        "class of text",
        "halves, domain",
        "halves, class",
    ]
    both = list(zip(found.layers, slots.layers, strict=True))
    rows = []
    for one, other in [*both[:-1:step], both[-1]]:
        layer, slot = one.found, other.found
        by_token = measured(layer.by_token)
        by_class = measured(layer.by_class)
        rows.append(
            [
                str(one.router.layer),
                interval(by_token.lexical_given, 3),
                interval(by_token.domain_given, 3),
                f"{layer.domain_given_shuffled:.3f}",
                interval(measured(layer.domain), 3),
                f"{layer.domain_shuffled:.3f}",
                interval(measured(slot.domain), 3),
                interval(by_class.lexical, 3),
                f"{measured(layer.domain_halves).correlation:.2f}",
                f"{measured(layer.lexical_halves).correlation:.2f}",
            ]
        )
    return table(header, rows)


def by_layer(found: Subjects, step: int) -> str:
    """Write every `step`-th layer of Mixtral-8x7B, and the last."""
    header = ["layer", "whole prompts: bits", "whole prompts: variance by subject, %"]
    header += [
        "own text: bits",
        "own text: variance by subject, at least %",
        "Q / df",
        "largest after permutation",
    ]
    header += ["halves of the questions", "own text and examples"]
    layers = len(found.bits)
    rows = [
        [
            str(at),
            f"{found.prompts[at]:.3f}",
            f"{100 * found.prompt_variance[at]:.0f}",
            interval(found.bits[at], 3),
            f"{100 * found.variance[at]:.0f}",
            f"{found.heterogeneity[at]:.1f}",
            f"{found.permuted[at]:.1f}",
            f"{found.halves[at]:.2f}",
            f"{found.with_examples[at]:.2f}",
        ]
        for at in sorted({*range(0, layers, step), layers - 1})
    ]
    return table(header, rows)


def strongest(found: Subjects, names: Sequence[str], n: int = SHOWN_CELLS) -> str:
    """Write the clearest subject and expert of each layer, the `n` clearest layers."""
    cells = found.cells
    clearest = [divmod(int(of.argmin()), of.shape[1]) for of in cells.log10_p.transpose(1, 0, 2)]
    places = [(subject, layer, expert) for layer, (subject, expert) in enumerate(clearest)]
    rows = []
    for at in sorted(places, key=lambda at: float(cells.log10_p[at]))[:n]:
        subject, layer, expert = at
        rows.append(
            [
                names[subject].replace("_", " "),
                str(layer),
                str(expert),
                f"{100 * cells.share[at]:.1f}",
                f"{100 * cells.others[at]:.1f}",
                f"{100 * cells.error[at]:.1f}",
                f"{cells.log10_p[at]:.0f}",
            ]
        )
    header = ["subject", "layer", "expert", "share, %", "other subjects, %", "standard error", "log10 p"]
    return table(header, rows)


def picture(found: SpecialisationFindings, entropy: Sequence[float]) -> str:
    """Draw what token id and domain share with the choice, each given the other, as a share of its entropy."""
    layers = [one.router.layer for one in found.layers]
    lines = []
    for words, of in (("token id given domain", "lexical_given"), ("domain given token id", "domain_given")):
        estimates = [
            part_of(getattr(measured(one.found.by_token), of), bits)
            for one, bits in zip(found.layers, entropy, strict=True)
        ]
        lines.append(Line(words, layers, estimates))
    alone = [
        part_of(measured(one.found.domain), bits) for one, bits in zip(found.layers, entropy, strict=True)
    ]
    lines.append(Line("domain alone", layers, alone))
    return lines_svg(lines, "layer", "share of the entropy of the choice")


TEXT = """# Lexical or topical?

Made by `python -m analyses.lexical_or_topical`.

**Claim.** Jiang et al. (2024, Mixtral of Experts, section 5) see no obvious assignment of experts by topic, and
experts that follow syntax. Measured: experts follow the token far more than the subject, but subjects are there,
too.

## Tiny Mixtral: token id and domain, each given the other

**Method.** {tokens} tokens, {documents} documents of {domains} kinds of text ({names}). Mutual information with the
pair of experts in bits (of {entropy_low:.1f} to {entropy_high:.1f} that the layers have), jackknife over groups of
documents. "Domain given the token id" compares documents of different domains at one and the same token id
({share:.0f} % of the tokens have one of {ids} ids frequent enough; only they count here).
"Exchanged": the domains permuted between whole documents (the mean of a few such permutations); what is left is what
documents of any kind differ by.
"One slot" is the domain's information with one of the two experts, the unit of the next section. Halves:
correlation of the experts' lifts in two random halves of the documents. (Code, French, metamath and prose have 7 to
23 documents each; their figures are about these documents.)

{by_depth}

![Token id and domain as shares of the entropy of the choice]({picture})

## Mixtral-8x7B: subjects of MMLU

**Data.** The prompts of a subject have nearly all their text in common: the smallest count of every expert over its
questions adds up to {common:.0f} % of the mean prompt. So they were given with examples. {left} are left out,
because some of their prompts reach the limit of 2,048 tokens and had examples removed. {questions} questions of
{subjects} subjects remain, with at least {own:.0f} tokens of their own on average. Token ids are not recorded:
words cannot be separated from subjects here.

**Method.** *Whole prompts*: shares of experts as counted. *Own text*: the slope of an expert's count on the length
of the prompt within a subject, which the common text does not enter. Information of the subject and one chosen
expert in bits (of 3 that there are at most), to second order, every subject with equal weight; its interval is the
jackknife over {groups} groups of questions. Q / df: Cochran's heterogeneity of the subjects' shares, 1 if only
questions differ, beside the largest of {permutations} assignments of questions to subjects at random. *Variance by
subject* of the shares of experts in the prompts, or between questions in their own text (at least: what is longer
than the common text can be is taken as a question's length). *Halves*: correlation of the subjects' shares in
random halves of the questions. *Own text and examples*: correlation of these shares with those of the common text,
which is other questions of the subject.

{by_layer}

Of {cells} cells (subject, layer, expert) {found} differ from the mean of the other subjects at a false discovery
rate of 5 % (Benjamini and Yekutieli). Of those found in one half of the questions, {again:.0f} % differ in the same
direction in the other (p < 0.05). The clearest one of each layer, {shown} layers:

{strongest}

## Conclusion

**Tiny Mixtral: lexical first, and more topical with depth.** The token id has {lexical_first} bits with the choice
at layer 0 given the domain, and {lexical_last} at the last layer; the domain has {domain_first} and {domain_last}
given the token id. At every layer the token id has more: {ratio_last:.1f} times as much at the last layer,
{ratio_first:.0f} times at the first. The domain alone shows little of this ({alone_first} and {alone_last} bits):
one id is routed by subject in one way, another id in another way, so that loads of domains look alike. Loads by
domain, the measure of the paper, see only that part.

**Mixtral-8x7B: subjects are in the routing, and small.** In the questions' own text the subject has {bits_low:.3f}
to {bits_high:.3f} bits with a chosen expert, {part_low:.1f} to {part_high:.1f} % of 3 bits, at every layer more
than after questions were assigned to subjects at random (p = {p:.2f}, the smallest that {permutations} permutations
can give), alike in halves of the questions ({halves_low:.2f} to {halves_high:.2f}) and in the examples
({examples_low:.2f} to {examples_high:.2f}), which are other text. It is most at layers {most}. The paper compares
loads of data sets by eye; a mean effect of this size is easily missed there, although single cells are large
({cell_share:.0f} % of the choices against {cell_others:.0f} %).

**Prompts as they are overstate it.** Subjects explain {prompt_low:.0f} to {prompt_high:.0f} % of the variance
between whole prompts; in the own text it is at least {variance_low:.0f} to {variance_high:.0f} %. The difference is
the text that all prompts of a subject begin with: {subjects} texts, not {questions}. A test that takes these
prompts as independent finds subjects also where there is no effect; the tests of this analysis show it on generated
prompts.

**Limits.** Subjects of MMLU differ in words, length and form as well as in topic (moral scenarios have one fixed
form, security studies long answers, accounting numbers), and without token ids these are one. The slope describes
the text by which questions are longer than others, not their fixed parts. In the tiny Mixtral domains are kinds of
text, with few documents in four of five.
"""


def main() -> None:
    """Measure both models and write reports/analyses/lexical_or_topical.md with its picture."""
    sample = take_sample(rs.Trace.open(TRACES / "tiny-mixtral"))
    texts = read_token_texts(TOKENIZER)
    tiny, slots = (
        measure_specialisation(sample, view, texts, np.random.default_rng(0)) for view in ("subset", "expert")
    )
    questions, left = read_questions(MMLU)
    subjects = examine_questions(questions, np.random.default_rng(0))
    name = "lexical_or_topical.svg"
    entropy = entropies(sample)
    text = TEXT.format(
        **words_of_tiny(tiny, entropy),
        **words_of_questions(questions, left, subjects),
        by_depth=by_depth(tiny, slots, 4),
        by_layer=by_layer(subjects, 3),
        strongest=strongest(subjects, questions.names),
        picture=name,
    )
    print(text)
    write(name, picture(tiny, entropy))
    write("lexical_or_topical.md", filled(text))


def words_of_tiny(found: SpecialisationFindings, entropy: Sequence[float]) -> dict[str, object]:
    """Return the numbers of the text that are about the tiny Mixtral."""
    first, last = (found.layers[at].found for at in (0, -1))
    given, given_last = measured(first.by_token), measured(last.by_token)
    return {
        "tokens": f"{found.n_tokens:,}",
        "documents": sum(found.documents.values()),
        "domains": len(found.domains),
        "names": ", ".join(f"{domain} {n}" for domain, n in found.documents.items()),
        "entropy_low": min(entropy),
        "entropy_high": max(entropy),
        "share": 100 * found.share_frequent,
        "ids": found.n_ids,
        "lexical_first": interval(given.lexical_given, 2),
        "lexical_last": interval(given_last.lexical_given, 2),
        "domain_first": interval(given.domain_given, 2),
        "domain_last": interval(given_last.domain_given, 2),
        "alone_first": interval(measured(first.domain), 2),
        "alone_last": interval(measured(last.domain), 2),
        "ratio_first": given.lexical_given.value / given.domain_given.value,
        "ratio_last": given_last.lexical_given.value / given_last.domain_given.value,
    }


def words_of_questions(questions: Questions, left: Sequence[str], found: Subjects) -> dict[str, object]:
    """Return the numbers of the text that are about Mixtral-8x7B."""
    n = np.diff(questions.start, append=len(questions.tokens))
    mean, common = np.add.reduceat(questions.tokens, questions.start) / n, common_text(questions)
    bits = np.array([one.value for one in found.bits])
    last = found.cells.log10_p[:, -1]
    subject, expert = divmod(int(last.argmin()), last.shape[1])
    at = subject, -1, expert
    most = sorted(np.argsort(-bits)[:4].tolist())
    return {
        "common": 100 * float(common.sum() / mean.sum()),
        "left": ", ".join(name.replace("_", " ") for name in left),
        "questions": f"{len(questions.tokens):,}",
        "subjects": len(questions.names),
        "own": float((mean - common).mean()),
        "groups": GROUPS,
        "permutations": PERMUTATIONS,
        "cells": f"{found.cells.z.size:,}",
        "found": f"{int(found.cells.found.sum()):,}",
        "again": 100 * found.found_again / max(1, found.found),
        "shown": SHOWN_CELLS,
        "cell_share": 100 * found.cells.share[at],
        "cell_others": 100 * found.cells.others[at],
        "bits_low": bits.min(),
        "bits_high": bits.max(),
        "part_low": 100 * bits.min() / 3,
        "part_high": 100 * bits.max() / 3,
        "p": found.p.max(),
        "halves_low": found.halves.min(),
        "halves_high": found.halves.max(),
        "examples_low": found.with_examples.min(),
        "examples_high": found.with_examples.max(),
        "most": ", ".join(str(at) for at in most),
        "prompt_low": 100 * found.prompt_variance.min(),
        "prompt_high": 100 * found.prompt_variance.max(),
        "variance_low": 100 * found.variance.min(),
        "variance_high": 100 * found.variance.max(),
    }


if __name__ == "__main__":
    main()
