"""Tables without documents: what can be said of them, by hand and where the truth is known."""

from math import log2

import numpy as np
import pytest

from analyses.first_choice_tables import dependence, deviations, from_other_texts, likeness

TABLE = np.array([[30, 10], [10, 30]])


def test_dependence_by_hand():
    one = dependence(TABLE)
    bits = 0.75 * log2(1.5) + 0.25 * log2(0.5)
    assert (one.tokens, one.entropy, one.busiest) == (80, pytest.approx(1), 0.5)
    assert one.bits == pytest.approx(bits)
    assert one.share == pytest.approx(bits)
    # One degree of freedom: 1 / (2 * 80) nats.
    assert one.bias == pytest.approx(1 / 160 / np.log(2))
    assert one.needed == pytest.approx(bits * np.log(2) * 160)


def test_deviations_by_hand_and_with_an_empty_row():
    assert deviations(TABLE) == pytest.approx(np.array([[0.5, -0.5], [-0.5, 0.5]]))
    assert deviations(np.array([[30, 10], [0, 0], [10, 30]]))[1].tolist() == [0, 0]


def repeated(rng, joint, texts=5, tokens=40_000, times=50):
    """Tables of texts in which every draw is repeated: a design effect of `times`."""
    return [
        times * rng.multinomial(tokens // times, joint.ravel()).reshape(joint.shape) for _ in range(texts)
    ]


def joint_of(rng, size=8, strength=0.0):
    """A joint distribution: independent, or with lifts of this standard deviation on the log scale."""
    joint = np.outer(rng.dirichlet(np.full(size, 9.0)), rng.dirichlet(np.full(size, 9.0)))
    joint = joint * np.exp(strength * rng.standard_normal(joint.shape))
    return joint / joint.sum()


def test_dependent_tokens_of_independent_layers_are_not_alike_and_predict_no_other_text():
    rng = np.random.default_rng(4)
    p, plugin, gained = [], [], []
    for _ in range(40):
        tables = repeated(rng, joint_of(rng))
        p.append(likeness(tables, rng, draws=39).p)
        plugin.append(np.mean([dependence(one).bits for one in tables]))
        gained.append(
            np.mean([from_other_texts(tables[at], tables[:at] + tables[at + 1 :]) for at in range(5)])
        )
    # 50 * 49 / (2 * 40,000) nats of nothing: the plug-in finds them, the other texts do not.
    assert np.mean(plugin) == pytest.approx(50 * 49 / 80_000 / np.log(2), rel=0.1)
    assert max(gained) < 0
    # At least one in 40 of each null p-value; nominally 4 of 40 are 0.1 or less.
    assert sum(one <= 0.1 for one in p) <= 9


def test_a_dependence_that_texts_have_in_common_is_found_and_bounded_from_below():
    rng = np.random.default_rng(5)
    joint = joint_of(rng, strength=0.6)
    truth = dependence((joint * 1e9).astype(np.int64)).bits
    tables = repeated(rng, joint)
    alike = likeness(tables, rng, draws=99)
    assert alike.p == 0.01
    assert min(alike.cosines) > alike.renumbered
    gained = [from_other_texts(tables[at], tables[:at] + tables[at + 1 :]) for at in range(5)]
    assert 0.4 * truth < np.mean(gained) < truth < np.mean([dependence(one).bits for one in tables])


def test_renumbering_the_experts_of_a_layer_changes_nothing():
    rng = np.random.default_rng(6)
    tables = repeated(rng, joint_of(rng, strength=0.5))
    order = rng.permutation(8)
    moved = [one[:, order] for one in tables]
    assert dependence(moved[0]).bits == pytest.approx(dependence(tables[0]).bits)
    assert from_other_texts(moved[0], moved[1:]) == pytest.approx(from_other_texts(tables[0], tables[1:]))
    own, other = (likeness(of, np.random.default_rng(0), draws=3) for of in (tables, moved))
    assert own.cosines == pytest.approx(other.cosines)


def test_an_expert_that_a_text_never_chooses_is_left_out():
    own = np.array([[30, 10, 0], [10, 30, 0], [0, 0, 0]])
    other = np.array([[25, 10, 3], [10, 30, 2], [1, 2, 9]])
    assert np.isfinite(from_other_texts(own, [other, other]))
