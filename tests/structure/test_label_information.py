"""Information with labels: by definition with every group left out, exact distributions, relabelling."""

import numpy as np
import pytest

from routestat.counting.labelled_tokens import count_choices
from routestat.structure.label_information import (
    LabelInformation,
    estimates_of,
    expert_information,
    sums_in_strata,
    table_sums,
)
from routestat.structure.token_labels import DOMAIN, label_tokens
from tests.oracle.specialisation_oracle import information_bits, jackknifed
from tests.structure.label_cases import counted, labelled, planted

PARTS = {
    "domain": ((), ("label",)),
    "lexical": ((), ("stratum",)),
    "domain_given": (("stratum",), ("label",)),
    "lexical_given": (("label",), ("stratum",)),
    "both": ((), ("stratum", "label")),
}


@pytest.mark.parametrize("slots", [1, 2])
def test_by_definition_with_every_group_left_out(slots):
    stratum, label, group, chosen = labelled(np.random.default_rng(1), slots=slots)
    of, meetings = counted(stratum, label, group, chosen, 9, 5)
    table = of.table(group_and_label(meetings, 3), 27).reshape(9, 3, 5)
    nothing, domain = (table_sums(one, slots) for one in (table.sum(axis=1, keepdims=True), table))
    lexical, both = sums_in_strata(of, meetings, 0)
    size = table.sum(axis=(1, 2)) // slots
    found = LabelInformation.of(nothing, domain, lexical, both, size)
    for name, (given, of_interest) in PARTS.items():

        def statistic(chosen, stratum, label, given=given, of_interest=of_interest):
            named = {"stratum": stratum, "label": label}
            return information_bits(
                chosen, [named[one] for one in given], [named[one] for one in of_interest]
            )

        value, error = jackknifed(statistic, group, chosen, stratum, label)
        estimate = getattr(found, name)
        assert estimate.plugin == pytest.approx(statistic(chosen, stratum, label), abs=1e-10)
        assert estimate.value == pytest.approx(value, abs=1e-9)
        assert estimate.standard_error == pytest.approx(error, abs=1e-9)
    assert found.shared.value == pytest.approx(found.domain.value + found.lexical.value - found.both.value)


def group_and_label(meetings, n_labels):
    return meetings.group.astype(np.int64) * n_labels + meetings.labels[0]


@pytest.mark.parametrize("slots", [1, 2])
def test_each_expert_by_definition(slots):
    stratum, label, group, chosen = labelled(np.random.default_rng(2), slots=slots)
    of, meetings = counted(stratum, label, group, chosen, 9, 5)
    table = of.table(group_and_label(meetings, 3), 27).reshape(9, 3, 5)
    size = table.sum(axis=(1, 2)) // slots
    inner, outer = expert_information(of, meetings, 0, table, size)
    for expert in range(5):
        included = (chosen == expert).any(axis=1).astype(int)[:, None]
        for found, given, own in ((inner, stratum, label), (outer, label, stratum)):
            value, error = jackknifed(
                lambda chosen, given, own: information_bits(chosen, [given], [own]),
                group,
                included,
                given,
                own,
            )
            assert found.value[expert] == pytest.approx(value, abs=1e-9)
            assert found.standard_error[expert] == pytest.approx(error, abs=1e-9)


def test_intervals_hold_the_exact_information():
    made, sample, texts = planted(5, topical=3.0, lexical=3.0, mixing=0.8, documents=200, mean_length=150)
    labels = label_tokens(sample, texts, 28, 1, np.random.default_rng(0))
    truth = made.truth.planted
    for layer, router in enumerate(sample.routers):
        of = count_choices(sample, router, "subset", labels.meetings)
        sizes, groups = labels.meetings.sizes, labels.meetings.n_groups
        table = of.table(labels.places, groups * sizes[0] * sizes[1]).reshape(groups, sizes[0], sizes[1], -1)
        size = table.sum(axis=(1, 2, 3))
        sums = [table_sums(np.ascontiguousarray(one), 1) for one in (
            table.sum(axis=(1, 2), keepdims=True)[:, 0], table.sum(axis=2), table.sum(axis=1),
            table.reshape(groups, -1, table.shape[3]),
        )]  # fmt: skip
        found = LabelInformation.of(*sums, size)
        for name in ("domain", "lexical", "domain_given", "lexical_given"):
            estimate, exact = getattr(found, name), truth[f"{name}_bits"][layer]
            assert exact > 0.002
            # Four errors: eight statistics are looked at.
            assert abs(estimate.value - exact) < 4 * estimate.standard_error + 1e-3
        lexical, both = sums_in_strata(of, labels.meetings, DOMAIN)
        given = estimates_of([both - lexical], size)[0]
        assert abs(given.value - truth["domain_given_bits"][layer]) < 4 * given.standard_error + 0.01


def test_names_of_experts_and_labels_do_not_matter():
    rng = np.random.default_rng(3)
    stratum, label, group, chosen = labelled(rng)
    names, words = rng.permutation(5), rng.permutation(3)
    values = []
    for own, choice in ((label, chosen), (words[label], names[chosen])):
        of, meetings = counted(stratum, own, group, choice, 9, 5)
        lexical, both = sums_in_strata(of, meetings, 0)
        values.append(estimates_of([both - lexical], np.bincount(group, minlength=9))[0].value)
    assert values[0] == pytest.approx(values[1], abs=1e-12)


def test_without_tokens_or_with_few_groups():
    nothing = table_sums(np.zeros((3, 2, 4), np.int32), 1)
    assert estimates_of([nothing], np.zeros(3, int))[0].reason == "no tokens"
    few = table_sums(np.ones((3, 2, 4), np.int32), 1)
    found = estimates_of([few], np.full(3, 8))[0]
    assert np.isnan(found.value)
    assert "3 independent units" in found.reason
