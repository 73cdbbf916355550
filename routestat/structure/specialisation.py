"""What the experts of a layer specialise in: domains of documents, or tokens.

An expert of a topic is chosen in the documents of a domain whatever the token; a lexical expert is chosen for some
tokens whatever the document. Each is measured given the other: what the domain shares with the choice at one token id,
and what the token id shares with it inside one domain.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from routestat.counting.labelled_tokens import Integers, MeetingChoices
from routestat.inference.base.clustered_score_test import ScoreTest
from routestat.inference.base.estimate import Estimate, Estimates, without_interval
from routestat.inference.base.tables import Floats
from routestat.inference.base.units import too_few
from routestat.structure.half_samples import HalfStability, half_stability
from routestat.structure.label_information import (
    LabelInformation,
    estimates_of,
    expert_information,
    sums_in_strata,
    table_sums,
)
from routestat.structure.label_tests import (
    LabelCells,
    cells_of,
    scores_in_strata,
    scores_of_table,
)
from routestat.structure.token_labels import DOMAIN, EXCHANGED, TokenLabels, of_frequent_ids

NO_FREQUENT_ID = "no token id is frequent enough to be separated"


@dataclass(frozen=True, eq=False)
class LayerSpecialisation:
    """What the experts of one router specialise in; what the labels do not allow is None.

    Attributes
    ----------
    n_tokens : int
    domain : Estimate
        Information of the choice and the domain, in bits.
    domain_shuffled : float
        The same after whole clusters exchanged their domains: what is left is due to documents that differ. Mean of a
        few exchanges.
    domain_test : ScoreTest
    by_token : LabelInformation
        With the token id, of tokens whose id is frequent enough to be separated; whole without domains too, of which
        nothing is then shared.
    by_class : LabelInformation
        With the class of the text, of the same tokens.
    domain_given_shuffled : float
        `by_token.domain_given` after clusters exchanged their domains.
    domain_given_test, lexical_given_test : ScoreTest
        That the choice does not depend on the domain at one token id, of those that are frequent enough, and not on the
        class (or the most frequent ids) inside one domain.
    domain_cells, lexical_cells : LabelCells
        ``[domain, expert]`` given the token id, and ``[class, expert]`` given the domain.
    domain_halves, lexical_halves : HalfStability
    expert_domain, expert_lexical : Estimates
        Information of each expert's inclusion and the domain given the token id, and the other way round ``[expert]``.
    loads : array ``[expert]``
        Tokens that include each.
    """

    n_tokens: int
    domain: Estimate | None
    domain_shuffled: float
    domain_test: ScoreTest | None
    by_token: LabelInformation | None
    by_class: LabelInformation | None
    domain_given_shuffled: float
    domain_given_test: ScoreTest | None
    lexical_given_test: ScoreTest | None
    domain_cells: LabelCells | None
    lexical_cells: LabelCells | None
    domain_halves: HalfStability | None
    lexical_halves: HalfStability | None
    expert_domain: Estimates
    expert_lexical: Estimates
    loads: Floats


def specialise(of: MeetingChoices, labels: TokenLabels, halves: Sequence[Integers]) -> LayerSpecialisation:
    """Measure what the experts of one layer specialise in.

    Parameters
    ----------
    of : MeetingChoices
        Of the meetings of the labels.
    labels : TokenLabels
    halves : sequence of int array
        Random halves of the groups.
    """
    meetings = labels.meetings
    groups, (n_domains, n_values) = meetings.n_groups, meetings.sizes[:2]
    table = of.table(labels.places, groups * n_domains * n_values)
    table = table.reshape(groups, n_domains, n_values, of.n_choices)
    of_domain = np.ascontiguousarray(table.sum(axis=2))
    size = of_domain.sum(axis=(1, 2)) // of.slots
    nothing = table_sums(of_domain.sum(axis=1, keepdims=True), of.slots)
    domain = table_sums(of_domain, of.slots)
    # Ids that are too rare to be separated are together, so that the domain would stand for which of them it has.
    inside, strata = of_frequent_ids(of, labels) if labels.values else (of, meetings)
    at_ids = table
    if labels.values:
        at_ids = inside.table(labels.places[: len(strata)], groups * n_domains * n_values).reshape(
            table.shape
        )
    domain_at_ids = np.ascontiguousarray(at_ids.sum(axis=2))
    ids_size = domain_at_ids.sum(axis=(1, 2)) // of.slots
    token, both = sums_in_strata(inside, strata, DOMAIN)
    by_token = by_class = None
    if labels.values:
        parts = (
            table_sums(domain_at_ids.sum(axis=1, keepdims=True), of.slots),
            table_sums(domain_at_ids, of.slots),
        )
        by_token = LabelInformation.of(*parts, token, both, ids_size)
        if not ids_size.any() and size.any():
            why = too_few(size) or NO_FREQUENT_ID
            by_token = LabelInformation(*[without_interval(math.nan, 0, why)] * len(fields(LabelInformation)))
        if labels.classes:
            of_class = table_sums(np.ascontiguousarray(at_ids.sum(axis=1)), of.slots)
            with_class = table_sums(at_ids.reshape(groups, -1, of.n_choices), of.slots)
            by_class = LabelInformation.of(*parts, of_class, with_class, ids_size)
    member = of.membership
    given = scores_in_strata(inside, strata, DOMAIN, domain_at_ids) if labels.domains else None
    of_experts = given.by_expert(member) if given else None
    lexical = scores_of_table(table, of.slots) if labels.values else None
    of_lexical = lexical.by_expert(member) if lexical else None
    included = np.rint(of_domain @ member).astype(np.int64)
    expert_domain, expert_lexical = expert_information(
        inside, strata, DOMAIN, np.rint(domain_at_ids @ member).astype(np.int64), ids_size
    )
    alone, given_token = [], []
    for at in EXCHANGED if labels.domains else ():
        place = meetings.group.astype(np.int64) * n_domains + meetings.labels[at]
        other = of.table(place, groups * n_domains).reshape(groups, n_domains, of.n_choices)
        alone.append(table_sums(other, of.slots) - nothing)
        if labels.values:
            given_token.append(sums_in_strata(inside, strata, at)[1] - token)
    floors = [
        float(np.mean([one.value for one in estimates_of(sums, tokens)])) if sums else math.nan
        for sums, tokens in ((alone, size), (given_token, ids_size))
    ]
    return LayerSpecialisation(
        n_tokens=int(size.sum()),
        domain=estimates_of([domain - nothing], size)[0] if labels.domains else None,
        domain_shuffled=floors[0],
        domain_test=scores_of_table(of_domain[:, None], of.slots).test() if labels.domains else None,
        by_token=by_token,
        by_class=by_class,
        domain_given_shuffled=floors[1],
        domain_given_test=given.test(constant=True) if given and labels.values else None,
        lexical_given_test=lexical.test() if lexical else None,
        domain_cells=cells_of(of_experts) if of_experts else None,
        lexical_cells=cells_of(of_lexical) if of_lexical else None,
        domain_halves=half_stability(of_experts, halves) if of_experts else None,
        lexical_halves=half_stability(of_lexical, halves) if of_lexical else None,
        expert_domain=expert_domain,
        expert_lexical=expert_lexical,
        loads=included.sum(axis=(0, 1)).astype(np.float64),
    )
