"""Subjects and experts in counts of whole prompts that begin alike: what the questions' own text shares with subjects.

All prompts of a subject begin with the same examples. Their routing is one sample of text for each subject, however
many questions follow, so that prompts of a subject are alike whether or not experts follow subjects. The slope of an
expert's count on the length of the prompt, over the questions of a subject, does not depend on what they have in
common: it is the expert's share of the text by which questions are longer than others.
"""

import json
from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate
from routestat.inference.base.jackknife import jackknife
from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.base.special import log10_t_tails

#: Prompts end at 2,048 tokens; a subject that comes near had examples removed from some of its prompts.
NEAR_LIMIT = 1900
GROUPS, PERMUTATIONS, SPLITS, SPLITS_OF_CELLS = 20, 99, 20, 3
LEVEL = np.log10(0.05)
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Questions:
    """Counts of the questions of several subjects, those of a subject together.

    Attributes
    ----------
    names
        Of the subjects.
    counts
        Choices `[question, layer, expert]`, `top_k` for each token.
    tokens
        Of the whole prompt `[question]`.
    subject
        `[question]`, in ascending order.
    top_k
        Choices of a token.
    """

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    tokens: NDArray[np.int64]
    subject: NDArray[np.int64]
    top_k: int = 2

    @property
    def start(self) -> NDArray[np.intp]:
        """The first question of each subject `[subject]`."""
        return np.searchsorted(self.subject, np.arange(len(self.names)))

    def of(self, kept: NDArray[np.bool_]) -> "Questions":
        """Return the subjects `kept` `[subject]`."""
        rows = kept[self.subject]
        place = np.cumsum(kept) - 1
        names = tuple(name for name, stays in zip(self.names, kept, strict=True) if stays)
        return Questions(names, self.counts[rows], self.tokens[rows], place[self.subject[rows]], self.top_k)


def read_questions(folder: Path) -> tuple[Questions, tuple[str, ...]]:
    """Read the counts of a folder, and name the subjects left out because some of their prompts were cut."""
    names = tuple(json.loads((folder / "mixtral_mmlu_subjects.json").read_text()))
    with np.load(folder / "mixtral_mmlu_question_counts.npz", allow_pickle=False) as arrays:
        counts, subject, tokens = (arrays[name].astype(np.int64) for name in ("counts", "subject", "tokens"))
    order = np.argsort(subject, kind="stable")
    every = Questions(names, counts[order], tokens[order], subject[order])
    whole = np.maximum.reduceat(every.tokens, every.start) < NEAR_LIMIT
    return every.of(whole), tuple(name for name, kept in zip(names, whole, strict=True) if not kept)


def common_text(questions: Questions) -> Floats:
    """Most tokens that all prompts of a subject can have in common `[subject]`.

    No prompt has fewer choices of an expert than the common text has; so the smallest counts, summed over the experts
    of a layer, bound it from above.
    """
    least = np.minimum.reduceat(questions.counts, questions.start).sum(axis=2)
    return np.asarray(least.min(axis=1) / questions.top_k)


@dataclass(frozen=True, eq=False)
class Slopes:
    """Shares of experts in the text by which the questions of a subject differ in length.

    Attributes
    ----------
    share
        `[subject, layer, expert]`; the sum over the experts is one.
    variance
        Of the share, with questions as the units and whatever variance each has (HC3).
    residual
        Variance of a question's count about the line, per choice `[subject, layer, expert]`.
    dof
        Degrees of freedom of the variance `[subject]`: what the spread of the lengths is worth, less one.

    References
    ----------
    MacKinnon & White (1985), J. Econometrics 29.
    """

    share: Floats
    variance: Floats
    residual: Floats
    dof: Floats


def slopes(counts: Floats, tokens: Floats, subject: NDArray[np.int64], top_k: int) -> Slopes:
    """Fit the count of every expert to the length of the prompt, within each subject.

    Parameters
    ----------
    counts
        `[question, layer, expert]`; the questions of a subject together.
    tokens, subject
        `[question]`.
    top_k
        Choices of a token.
    """
    start = np.flatnonzero(np.diff(subject, prepend=-1))
    n = np.diff(start, append=len(subject))
    place = np.repeat(np.arange(len(start)), n)
    flat = counts.reshape(len(counts), -1) / top_k
    length = tokens - (np.add.reduceat(tokens, start) / n)[place]
    square = np.add.reduceat(length**2, start)
    share = np.add.reduceat(length[:, None] * flat, start) / square[:, None]
    rest = flat - (np.add.reduceat(flat, start) / n[:, None])[place] - length[:, None] * share[place]
    kept = 1.0 - length**2 / square[place] - 1.0 / n[place]
    variance = np.add.reduceat((rest * (length / kept)[:, None]) ** 2, start) / square[:, None] ** 2
    residual = np.add.reduceat(rest**2, start) / (n - 2)[:, None]
    shape = (len(start), *counts.shape[1:])
    dof = np.maximum(1.0, square**2 / np.add.reduceat(length**4, start) - 1.0)
    return Slopes(share.reshape(shape), variance.reshape(shape), residual.reshape(shape), dof)


def information(share: Floats) -> Floats:
    """Information of a choice and the subject in bits, to second order, subjects of equal weight `[layer]`.

    Parameters
    ----------
    share
        `[subject, layer, expert]`. Those that cannot be negative in truth may be here, so that no logarithm is taken.
    """
    mean = share.mean(axis=0)
    part = np.divide((share - mean) ** 2, mean, out=np.zeros_like(share), where=mean > 0)
    return np.asarray(part.sum(axis=2).mean(axis=0) / (2.0 * log(2.0)))


def heterogeneity(of: Slopes) -> Floats:
    """Cochran's Q of the subjects' shares by its degrees of freedom, mean over the experts `[layer]`."""
    weight = 1.0 / of.variance
    mean = (weight * of.share).sum(axis=0) / weight.sum(axis=0)
    q = (weight * (of.share - mean) ** 2).sum(axis=0) / (len(of.share) - 1)
    return np.asarray(q.mean(axis=1))


@dataclass(frozen=True, eq=False)
class Cells:
    """Subjects and experts, each against the mean of the other subjects, `[subject, layer, expert]`.

    Attributes
    ----------
    share, others
        In the subject's own text, and the mean of the other subjects.
    error
        Standard error of their difference.
    z, log10_p
        The difference in its errors, and its two-sided p-value by Student's t.
    """

    share: Floats
    others: Floats
    error: Floats
    z: Floats
    log10_p: Floats

    @property
    def found(self) -> NDArray[np.bool_]:
        """Cells with a false discovery rate below 5 % over all of them, whatever their dependence."""
        return np.asarray(adjust_log10(self.log10_p, "by") < LEVEL)


def cells(of: Slopes) -> Cells:
    """Compare every subject's share of an expert with the mean of the other subjects."""
    rest = len(of.share) - 1
    others = (of.share.sum(axis=0) - of.share) / rest
    error = np.sqrt(of.variance + (of.variance.sum(axis=0) - of.variance) / rest**2)
    z = (of.share - others) / error
    return Cells(of.share, others, error, z, log10_t_tails(z, of.dof[:, None, None]))


@dataclass(frozen=True, eq=False)
class Subjects:
    """What experts and subjects share, by layer.

    Attributes
    ----------
    prompts, prompt_variance
        Information of a choice and the subject in bits, and the share of the variance between prompts that subjects
        explain, from whole prompts: the common text included `[layer]`.
    bits
        Of the questions' own text, the jackknife over groups of questions.
    heterogeneity, permuted, p
        Cochran's Q / df; its largest value after questions were assigned to subjects at random; and the p-value.
    halves
        Correlation of the subjects' shares of two halves of the questions `[layer]`, mean over random halves.
    with_examples
        Correlation with the shares of the common text, which other questions of the subject make up `[layer]`.
    variance
        Of the variance between questions in the share of an expert in their own text, at least so much is that between
        subjects `[layer]`.
    cells
        Subjects and experts.
    found, found_again
        Cells found in one half of the questions, over several halves, and of these shown by the other one too.
    """

    prompts: Floats
    prompt_variance: Floats
    bits: tuple[Estimate, ...]
    heterogeneity: Floats
    permuted: Floats
    p: Floats
    halves: Floats
    with_examples: Floats
    variance: Floats
    cells: Cells
    found: int
    found_again: int


def examine_questions(
    questions: Questions, rng: np.random.Generator, permutations: int = PERMUTATIONS
) -> Subjects:
    """Measure subjects against experts, from prompts as they are and from the questions' own text.

    Parameters
    ----------
    questions
        With several subjects, each of `GROUPS` questions or more.
    rng
        Draws groups, halves and permutations.
    permutations
        How often questions are assigned to subjects at random.
    """
    counts, tokens = questions.counts.astype(np.float64), questions.tokens.astype(np.float64)
    subject, top_k = questions.subject, questions.top_k
    own = slopes(counts, tokens, subject, top_k)
    group = _groups(subject, rng)
    left = np.stack(
        [
            information(slopes(counts[kept], tokens[kept], subject[kept], top_k).share)
            for kept in (group != number for number in range(GROUPS))
        ]
    )
    whole, size = information(own.share), np.bincount(group)
    bits = tuple(jackknife(float(whole[at]), left[:, at], size) for at in range(len(whole)))
    q = heterogeneity(own)
    null = np.array([heterogeneity(_permuted(questions, rng)) for _ in range(permutations)])
    examples = np.minimum.reduceat(questions.counts, questions.start).astype(np.float64)
    examples /= examples.sum(axis=2, keepdims=True)
    halves, found, again = _halves(counts, tokens, subject, top_k, group, rng)
    return Subjects(
        *_of_prompts(questions),
        bits,
        q,
        null.max(axis=0),
        (1 + (null >= q).sum(axis=0)) / (1 + permutations),
        halves,
        _correlation(own.share, examples),
        _variance_of_subjects(questions, own),
        cells(own),
        found,
        again,
    )


def _groups(subject: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return random groups of the questions `[question]`, of about one size within each subject."""
    order = np.lexsort((rng.random(len(subject)), subject))
    group = np.empty(len(subject), np.int64)
    group[order] = np.arange(len(subject)) % GROUPS
    return group


def _permuted(questions: Questions, rng: np.random.Generator) -> Slopes:
    """Assign questions to subjects at random, each less the mean of its own subject: the common text is gone."""
    start = questions.start
    n = np.diff(start, append=len(questions.subject))
    flat = questions.counts.reshape(len(questions.counts), -1)
    order = rng.permutation(len(flat))
    counts = (flat - (np.add.reduceat(flat, start) / n[:, None])[questions.subject])[order]
    tokens = (questions.tokens - (np.add.reduceat(questions.tokens, start) / n)[questions.subject])[order]
    return slopes(counts.reshape(questions.counts.shape), tokens, questions.subject, questions.top_k)


def _correlation(one: Floats, other: Floats) -> Floats:
    """Correlate the deviations from the mean over the subjects, of all subjects and experts of a layer `[layer]`."""
    x, y = one - one.mean(axis=0), other - other.mean(axis=0)
    product = (x * y).sum(axis=(0, 2))
    return np.asarray(product / np.sqrt((x**2).sum(axis=(0, 2)) * (y**2).sum(axis=(0, 2))))


def _halves(
    counts: Floats,
    tokens: Floats,
    subject: NDArray[np.int64],
    top_k: int,
    group: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[Floats, int, int]:
    """Correlate halves of the questions, and look for the cells of one in the other."""
    alike, found, again = [], 0, 0
    for split in range(SPLITS):
        half = np.isin(group, rng.permutation(GROUPS)[: GROUPS // 2])
        both = [slopes(counts[kept], tokens[kept], subject[kept], top_k) for kept in (half, ~half)]
        alike.append(_correlation(both[0].share, both[1].share))
        if split >= SPLITS_OF_CELLS:
            continue
        of = [cells(one) for one in both]
        for first, second in (of, of[::-1]):
            same = (np.sign(first.z) == np.sign(second.z)) & (second.log10_p < LEVEL)
            found, again = found + int(first.found.sum()), again + int((first.found & same).sum())
    return np.asarray(np.mean(alike, axis=0)), found, again


def _of_prompts(questions: Questions) -> tuple[Floats, Floats]:
    """Information in bits, and the share of the variance that subjects explain, of whole prompts `[layer]`."""
    share = questions.counts / (questions.top_k * questions.tokens)[:, None, None]
    start = questions.start
    n = np.diff(start, append=len(share))
    mean = np.add.reduceat(share, start) / n[:, None, None]
    between = (n[:, None, None] * (mean - share.mean(axis=0)) ** 2).sum(axis=(0, 2))
    return information(mean), between / ((share - share.mean(axis=0)) ** 2).sum(axis=(0, 2))


def _variance_of_subjects(questions: Questions, own: Slopes) -> Floats:
    """Return the least share of the variance between questions that is between subjects `[layer]`.

    The own text of a question is at least what is longer than the common text can be, so that the variance of its
    share is at most that of the residual counts over the square of this.
    """
    start = questions.start
    n = np.diff(start, append=len(questions.tokens))
    length = np.add.reduceat(questions.tokens, start) / n - common_text(questions)
    signal = own.share.var(axis=0, ddof=1) - own.variance.mean(axis=0)
    within = (own.residual / length[:, None, None] ** 2).mean(axis=0)
    between = np.maximum(0.0, signal.sum(axis=1))
    return np.asarray(between / (between + within.sum(axis=1)))
