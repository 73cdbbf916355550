"""Shares of experts in the own text of prompts that begin alike: by hand, an oracle, and generated prompts."""

import numpy as np
import pytest
import statsmodels.api as sm

from analyses import questions as module
from analyses.lexical_or_topical import MMLU
from analyses.questions import (
    Questions,
    cells,
    common_text,
    examine_questions,
    heterogeneity,
    information,
    read_questions,
    slopes,
)

EXPERTS = 6


def generated(rng, spread, subjects=8, each=60, layers=1):
    """Prompts with 300 tokens in common in each subject, and own text of 20 to 80 dependent tokens.

    `spread` is the standard deviation of a subject's log shares of experts in its questions; the common text of a
    subject has shares of its own in any case. Returns the questions and the true shares `[subject, layer, expert]`.
    """
    base = np.full((layers, EXPERTS), 1 / EXPERTS)
    true = base * np.exp(spread * rng.standard_normal((subjects, layers, EXPERTS)))
    true /= true.sum(axis=2, keepdims=True)
    counts, tokens, subject = [], [], []
    for at in range(subjects):
        common = [rng.multinomial(600, rng.dirichlet(np.full(EXPERTS, 20.0))) for _ in range(layers)]
        for _ in range(each):
            own = int(rng.integers(20, 81))
            row = [
                common[layer] + rng.multinomial(2 * own, rng.dirichlet(30 * true[at, layer]))
                for layer in range(layers)
            ]
            counts.append(row)
            tokens.append(300 + own)
            subject.append(at)
    names = tuple(f"s{at}" for at in range(subjects))
    return Questions(names, np.array(counts), np.array(tokens), np.array(subject)), true


def test_slopes_by_hand():
    """Common text of 4 choices of expert 0; own text half of each: the slope is a half, whatever is in common."""
    tokens = np.array([3.0, 4.0, 6.0])
    own = tokens - 2.0
    counts = np.stack([4.0 + own, own], axis=1)[:, None, :]
    found = slopes(counts, tokens, np.zeros(3, np.int64), 2)
    assert found.share[0, 0] == pytest.approx([0.5, 0.5])
    assert found.variance[0, 0] == pytest.approx([0, 0], abs=1e-20)


def test_slopes_and_their_errors_against_statsmodels():
    questions, _ = generated(np.random.default_rng(0), 0.3, subjects=3, layers=2)
    found = slopes(questions.counts.astype(float), questions.tokens.astype(float), questions.subject, 2)
    for subject, layer, expert in ((0, 0, 0), (1, 1, 3), (2, 0, 5)):
        rows = questions.subject == subject
        x = sm.add_constant(questions.tokens[rows].astype(float))
        fit = sm.OLS(questions.counts[rows, layer, expert] / 2, x).fit(cov_type="HC3")
        assert found.share[subject, layer, expert] == pytest.approx(fit.params[1])
        assert found.variance[subject, layer, expert] == pytest.approx(fit.bse[1] ** 2)
        assert found.residual[subject, layer, expert] == pytest.approx(fit.mse_resid)
    assert found.share.sum(axis=2) == pytest.approx(1)


def test_information_is_near_that_of_a_table_of_small_differences():
    share = np.array([[[0.30, 0.20, 0.50]], [[0.26, 0.24, 0.50]]])
    mean = share.mean(axis=0)
    exact = (share * np.log2(share / mean)).sum() / 2
    assert information(share)[0] == pytest.approx(exact, rel=0.01)
    assert information(share[[0, 0]])[0] == 0


def test_the_common_text_is_bounded_from_above():
    questions, _ = generated(np.random.default_rng(1), 0.3, layers=3)
    bound = common_text(questions)
    assert (bound >= 300).all()
    assert (bound <= np.minimum.reduceat(questions.tokens, questions.start)).all()
    assert bound.mean() < 325


def test_prompts_that_begin_alike_show_subjects_where_there_are_none():
    """Without an effect: whole prompts are explained by subject, their own text is not, at the nominal rates."""
    rng, outside, low_p, found = np.random.default_rng(2), 0, 0, 0
    for _ in range(20):
        questions, _ = generated(rng, 0.0)
        one = examine_questions(questions, rng, permutations=19)
        assert one.prompt_variance[0] > 0.5
        outside += not one.bits[0].low <= 0 <= one.bits[0].high
        low_p += one.p[0] <= 0.1
        found += int(one.cells.found.sum())
    assert outside <= 4
    assert low_p <= 6
    assert found <= 1


def test_planted_subjects_are_found_with_their_information():
    rng = np.random.default_rng(3)
    inside, errors = 0, []
    for _ in range(8):
        questions, true = generated(rng, 0.5, each=100, layers=2)
        one = examine_questions(questions, rng, permutations=19)
        for bits, truth in zip(one.bits, information(true), strict=True):
            inside += bits.low < truth < bits.high
            errors.append(bits.value / truth - 1)
            assert bits.low > 0
            assert bits.plugin > bits.value  # the bias is removed
    # In 60 runs of 20 subjects: .97 to .99 inside, no bias beyond its Monte Carlo error.
    assert inside >= 13
    assert abs(np.mean(errors)) < 0.06
    assert (one.p == 1 / 20).all()
    assert (one.heterogeneity > one.permuted).all()
    assert (one.halves > 0.7).all()
    assert (np.abs(one.with_examples) < 0.5).all()  # the common text is unrelated here
    assert one.found_again > 0.8 * one.found > 0
    away = np.abs(one.cells.share - true).max()
    assert away < 5 * np.sqrt(slopes_error(questions))


def slopes_error(questions):
    found = slopes(questions.counts.astype(float), questions.tokens.astype(float), questions.subject, 2)
    assert heterogeneity(found).shape == (2,)
    assert cells(found).z.shape == found.share.shape
    return found.variance.max()


def test_at_least_so_much_of_the_variance_is_between_subjects():
    """The truth: variance of the true shares, and that of a question's share about it at the mean length."""
    rng = np.random.default_rng(4)
    questions, true = generated(rng, 0.5, subjects=20, each=100)
    one = examine_questions(questions, rng, permutations=1)
    between = true[:, 0].var(axis=0, ddof=1).sum()
    own = 1 / np.array([1 / 50 * 0.5 + 1 / 31]).mean()  # a question of 50 tokens, of dependent ones
    within = (true[:, 0] * (1 - true[:, 0])).sum(axis=1).mean() / own
    assert 0.5 * between / (between + within) < one.variance[0] < 1.1 * between / (between + within)


def test_whole_subjects_are_kept():
    questions, _ = generated(np.random.default_rng(5), 0.0, subjects=3)
    kept = questions.of(np.array([True, False, True]))
    assert kept.names == ("s0", "s2")
    assert np.unique(kept.subject).tolist() == [0, 1]
    assert (kept.counts[60:] == questions.counts[120:]).all()
    assert kept.start.tolist() == [0, 60]


def test_the_published_counts_are_read_without_subjects_whose_prompts_were_cut():
    questions, left = read_questions(MMLU)
    assert left == (
        "high_school_european_history",
        "high_school_us_history",
        "high_school_world_history",
        "professional_law",
    )
    assert (len(questions.names), questions.counts.shape) == (53, (11_902, 32, 8))
    assert (questions.counts.sum(axis=2) == 2 * questions.tokens[:, None]).all()
    assert questions.tokens.max() < module.NEAR_LIMIT
    common = common_text(questions)
    mean = np.array([questions.tokens[questions.subject == at].mean() for at in range(53)])
    assert common.sum() / mean.sum() == pytest.approx(0.88, abs=0.01)
