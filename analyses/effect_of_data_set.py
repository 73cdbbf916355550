"""Measure what the data set does to predictors: every kind of text predicted from every other.

Claim
    Predictors of routing are fitted to a kind of text, not to a model alone. Fitted to another domain they lose a large
    part of what they have over a uniform guess, and better predictors lose no less recall.
Data
    The trace of the tiny Mixtral (8 experts, top 2; five domains, of each at most 20,000 tokens: a stretch of every
    document) and that of DeepSeek-V2-Lite (64 experts, top 6; four domains, all tokens).
Method
    Every predictor is fitted to one domain and scored on another, for all pairs. What it is compared with is the same
    predictor fitted to other documents of the test domain, on the same tokens; differences are paired by documents.
    The same predictor fitted to all domains together shows whether a mixture of texts is enough. The recall of groups
    of documents is regressed on domain and depth, with errors robust to dependence within groups.
What would refute it
    Intervals of the loss that include zero, or a loss that is small beside the advantage over a uniform guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

import routestat as rs
from analyses.output import TRACES, filled, interval, table, write
from routestat.counting.board_rows import board_rows
from routestat.counting.document_sample import Sample, rows_of, take_sample
from routestat.counting.joined_samples import stretches_of
from routestat.forecast.board import make_board
from routestat.forecast.catalogue import specification
from routestat.forecast.effect_of_data import DataEffect, effect_of_data
from routestat.forecast.scores import PredictionScore
from routestat.forecast.specification import BoardPlan
from routestat.inference.base.estimate import (
    Estimate,
    effective_dof,
    sandwich_error,
    with_interval,
    without_interval,
)
from routestat.inference.base.tables import Floats
from routestat.inference.base.units import too_few
from routestat.study.domain_matrix import FOLDS, DomainMatrix, domain_matrix
from routestat.study.transfer import in_test_set, mean_scores

#: The predictors of each trace; the last is the best of them.
TINY = ("popularity", "token-id", "layer-1", "ridge-all")
DEEPSEEK = ("popularity", "layer-1", "ridge-4")
MOST_OF_DOMAIN = 20_000
RECALL = "recall_at_k"


@dataclass(frozen=True, eq=False)
class EffectOnTrace:
    """What the data set does to the predictors of one trace.

    Attributes
    ----------
    matrix
        Every domain predicted from every other.
    mixed
        By predictor: fitted to other documents of all domains together, one layer ahead, over all targets.
    effects
        Of domain and depth on each predictor that is fitted to all domains.
    chance
        Recall of k experts drawn at random.
    """

    matrix: DomainMatrix
    mixed: dict[str, PredictionScore]
    effects: tuple[DataEffect, ...]
    chance: float


@dataclass(frozen=True)
class Loss:
    """What one predictor loses on one domain when it is fitted to other data.

    Attributes
    ----------
    predictor, domain
        Which, and where it is scored.
    own
        Its recall, fitted to other documents of the domain.
    elsewhere
        Its recall, fitted to another domain: mean over the others.
    difference
        `elsewhere` less `own`, on the same tokens.
    kept
        The share of what `own` has over a uniform guess that `elsewhere` has too.
    mixed
        Its recall fitted to all domains less `own`, on the same tokens.
    """

    predictor: str
    domain: str
    own: Estimate
    elsewhere: Estimate
    difference: Estimate
    kept: Estimate
    mixed: Estimate


def balanced(sample: Sample, most: int, rng: np.random.Generator) -> Sample:
    """Keep at most so many rows of each domain: a stretch of every document."""
    numbers, of_row = np.unique(sample.document, return_inverse=True)
    domain = np.array([sample.domains.get(int(number), "") for number in numbers])[of_row]
    kept = [stretches_of(sample, domain == name, most, rng) for name in np.unique(domain)]
    return rows_of(sample, np.any(kept, axis=0))


def examine(
    sample: Sample, view: str, names: Sequence[str], most: int = MOST_OF_DOMAIN, seed: int = 0
) -> EffectOnTrace:
    """Fit predictors to single domains and to all together, and score them on every domain.

    Parameters
    ----------
    sample
        Of documents with domains.
    view
        "subset" or "expert".
    names
        Of predictors.
    most
        Tokens of a domain.
    seed
        Of the stretches.
    """
    routers = sample.routers
    sample = balanced(sample, most, np.random.default_rng(seed))
    specs, plan = [specification(name) for name in names], BoardPlan(calibrate=False, threads=2)
    matrix = domain_matrix(sample, routers, view, plan, specs=specs, most_tokens=len(sample) * len(routers))
    board = make_board(board_rows(sample, routers, FOLDS), view, plan, specs=specs)
    (mixed,) = mean_scores([board])
    effects = [effect_of_data([one for one in board if one.predictor == name], routers) for name in names]
    return EffectOnTrace(matrix, mixed, tuple(effects), routers[0].top_k / routers[0].n_experts)


def kept_share(elsewhere: Floats, own: Floats, tokens: Floats) -> Estimate:
    """Estimate the share of an advantage that is left elsewhere, with its interval over groups.

    Parameters
    ----------
    elsewhere, own
        Recall times tokens less that of a uniform guess `[group]`; a group may have less than none.
    tokens
        `[group]`.
    """
    groups, total = int(np.count_nonzero(tokens)), float(own.sum())
    value = float(elsewhere.sum()) / total
    if why := too_few(tokens):
        return without_interval(value, groups, why)
    error = float(sandwich_error((elsewhere - value * own) / total, groups))
    return with_interval(value, error, effective_dof(tokens), groups)


def loss_of(found: EffectOnTrace, predictor: str, domain: str) -> Loss:
    """Compare a predictor fitted to a domain, to each of the others, and to all, on the tokens of the domain."""
    here = [one for one in found.matrix.scores if one.score.predictor == predictor and one.test == domain]
    own = next(one.score for one in here if one.is_held_out)
    others = [one.score for one in here if not one.is_held_out]
    elsewhere = replace(own, sums=np.mean([one.sums for one in others], axis=0))
    tokens = own.cells.by_group(own.sums[:, 0])
    other, same = (one.cells.by_group(one.column(RECALL)) - found.chance * tokens for one in (elsewhere, own))
    return Loss(
        predictor,
        domain,
        own.estimate(RECALL),
        elsewhere.estimate(RECALL),
        elsewhere.less(own, RECALL),
        kept_share(other, same, tokens),
        in_test_set(found.mixed[predictor], domain).less(own, RECALL),
    )


def losses_table(found: EffectOnTrace) -> str:
    """Write the losses of all predictors on all domains as a table."""
    rows = []
    for predictor in found.mixed:
        for domain in found.matrix.domains:
            one = loss_of(found, predictor, domain)
            rows.append(
                [
                    predictor,
                    domain,
                    interval(one.own, 3),
                    interval(one.elsewhere, 3),
                    interval(one.difference, 3),
                    interval(one.kept, 0, 100),
                    interval(one.mixed, 3),
                ]
            )
    header = [
        "predictor",
        "scored on",
        "fitted to the same domain",
        "fitted to another, mean",
        "difference",
        "% kept",
        "fitted to all domains: difference",
    ]
    return table(header, rows)


def matrix_table(found: EffectOnTrace, predictor: str) -> str:
    """Write the recall of one predictor for all pairs of domains as a table."""
    value = {
        (one.train, one.test): one.score.estimate(RECALL).value
        for one in found.matrix.scores
        if one.score.predictor == predictor
    }
    domains = found.matrix.domains
    rows = [[train, *(f"{value[train, test]:.3f}" for test in domains)] for train in domains]
    return table(["fitted to \\ scored on", *domains], rows)


def effects_table(effects: Sequence[DataEffect]) -> str:
    """Write the terms of the regressions as a table, one column for each predictor."""
    rows = [
        [term.term, term.reference, *(interval(one.terms[place].estimate, 3) for one in effects)]
        for place, term in enumerate(effects[0].terms)
    ]
    return table(["term", "against", *(one.predictor for one in effects)], rows)


TEXT = """# What does the data set do to prediction?

Made by `python -m analyses.effect_of_data_set`.

**Claim.** Predictors of routing are fitted to a kind of text, not to a model alone. Fitted to another domain they lose
a large part of what they have over a uniform guess, and better predictors lose no less recall.

**Method.** Every predictor is fitted to one domain and scored on another, for all pairs, one layer ahead, over all
layers after the first. It is compared with the same predictor fitted to other documents of the test domain (four
fifths of them), on the same tokens; differences are paired by documents, with 95 % intervals. That of another domain is
fitted to all of that domain, so that its loss is not one of fewer tokens. *Kept* is the share of the advantage over a
uniform guess (recall k / E) that is left; it is negative where recall is below that of a uniform guess. In the last
column the predictor is fitted to four fifths of the documents of all domains together. Predictors are taken as fitted:
that other training documents of the same domains would differ is not in the intervals. Where a domain has few groups
of documents, its intervals rest on these few.

The regressions are of the recall of groups of documents, of predictors fitted to all domains, on domain and depth:
`depth` is the change from the first target layer to the last, and `depth, ends` how much more both ends have than the
middle. Their errors are robust to any dependence within a group of documents.

**What would refute it.** Intervals of the loss that include zero, or losses that are small beside the advantage over a
uniform guess.

## Tiny Mixtral (8 experts, top 2)

{tiny_data}

{tiny}

Recall@2 of `{tiny_best}`, row: fitted to, column: scored on:

{tiny_matrix}

Regression of recall@2:

{tiny_effects}

## DeepSeek-V2-Lite (64 experts, top 6)

{deepseek_data}

{deepseek}

Recall@6 of `{deepseek_best}`, row: fitted to, column: scored on:

{deepseek_matrix}

Regression of recall@6:

{deepseek_effects}

## Conclusion

{conclusion}
"""


def data_in_words(found: EffectOnTrace) -> str:
    """State the domains and what is used of them."""
    of = [
        f"{name} {tokens:,} tokens of {groups} groups of documents"
        for name, tokens, groups in zip(
            found.matrix.domains, found.matrix.n_tokens, found.matrix.n_groups, strict=True
        )
    ]
    return f"{'; '.join(of)}."


def conclusion_of(name: str, found: EffectOnTrace) -> str:
    """Summarise the losses on one trace in words."""
    losses = [
        loss_of(found, predictor, domain) for predictor in found.mixed for domain in found.matrix.domains
    ]
    sure = sum(one.difference.high < 0 for one in losses)
    parts = []
    for predictor in found.mixed:
        lost = sorted(-one.difference.value for one in losses if one.predictor == predictor)
        kept = sorted(100 * one.kept.value for one in losses if one.predictor == predictor)
        parts.append(
            f"`{predictor}` loses {lost[0]:.3f} to {lost[-1]:.3f} and keeps {kept[0]:.0f} to {kept[-1]:.0f} %"
        )
    best = list(found.mixed)[-1]
    mixed = sorted(one.mixed.value for one in losses if one.predictor == best)
    return (
        f"{name}: the recall of a predictor fitted to another domain is lower in {sure} of {len(losses)} cases, by "
        f"95 % intervals. By domain, {'; '.join(parts)} of its advantage over a uniform guess. Fitted to all domains "
        f"together, `{best}` has a recall that differs from that of the domain's own by {mixed[0]:+.3f} to "
        f"{mixed[-1]:+.3f}."
    )


def main() -> None:
    """Examine both traces and write reports/analyses/effect_of_data_set.md."""
    words: dict[str, str] = {}
    conclusions = []
    for key, name, title, view, names in (
        ("tiny", "tiny-mixtral", "Tiny Mixtral", "subset", TINY),
        ("deepseek", "deepseek-v2-lite-esft", "DeepSeek-V2-Lite", "expert", DEEPSEEK),
    ):
        found = examine(take_sample(rs.Trace.open(TRACES / name)), view, names)
        words |= {
            f"{key}_data": data_in_words(found),
            key: losses_table(found),
            f"{key}_best": names[-1],
            f"{key}_matrix": matrix_table(found, names[-1]),
            f"{key}_effects": effects_table(found.effects),
        }
        conclusions.append(f"- {conclusion_of(title, found)}")
    text = TEXT.format(conclusion="\n".join(conclusions), **words)
    print(text)
    write("effect_of_data_set.md", filled(text))


if __name__ == "__main__":
    main()
