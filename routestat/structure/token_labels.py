"""The labels of tokens that specialisation is measured with: domain, token id, and class of the text.

Ids that occur in a few documents only cannot be separated from these documents, so the id is that of frequent tokens;
the others are together, by class where texts are known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from routestat.counting.document_sample import Sample
from routestat.counting.labelled_tokens import Integers, MeetingChoices, Meetings, meetings_of
from routestat.structure.token_classes import classes_of_rows, classify_tokens, used_classes
from routestat.traces.token_texts import TokenTexts

#: A token id is frequent with so many tokens, and so many for every cell [domain, choice], in so many groups of
#: documents; so many ids at most. With fewer per cell information given the id is too high even after the jackknife.
LEAST_TOKENS, LEAST_PER_CELL, LEAST_GROUPS, MOST_IDS = 50, 2, 10, 4096
#: Without texts, so many most frequent ids are tested one by one.
TESTED_IDS = 30
#: Smaller domains, and rarer classes, are joined.
MOST_DOMAINS, MOST_CLASSES = 24, 30
# Cells [group, domain, class, choice] of one layer; beyond it groups are joined.
MOST_CELLS, FEWEST_GROUPS = 1 << 22, 32
OTHERS = "others"
DOMAIN, LEXICAL = range(2)
#: Labels of domains that clusters exchanged, each time anew: how much is left varies with who has whose.
EXCHANGED = range(2, 5)


@dataclass(frozen=True, eq=False)
class TokenLabels:
    """Labels of the tokens of a sample.

    Attributes
    ----------
    meetings : Meetings
        Strata are frequent token ids, the others by class; or one stratum where ids are unknown. Labels are the domain,
        the class (or one of the most frequent ids), and, of two or more domains, those after whole clusters exchanged
        theirs, several times.
    domains : tuple of str
        Empty where the trace has fewer than two.
    values : tuple of str
        Classes, or most frequent ids without texts; empty without ids.
    classes : bool
        Whether `values` are classes of texts.
    ids : int array ``[stratum]``
        Token ids; −1 for those of other ids together.
    n_tokens, n_frequent : int
        Tokens with all labels, and how many of them have a frequent id.
    documents : mapping of str to int
        Documents of every domain.
    """

    meetings: Meetings
    domains: tuple[str, ...]
    values: tuple[str, ...]
    classes: bool
    ids: Integers
    n_tokens: int
    n_frequent: int
    documents: Mapping[str, int]

    @property
    def places(self) -> Integers:
        """Each meeting's place in a table ``[group, domain, value]``."""
        of, sizes = self.meetings, self.meetings.sizes
        group = of.group.astype(np.int64)
        return (group * sizes[DOMAIN] + of.labels[DOMAIN]) * sizes[LEXICAL] + of.labels[LEXICAL]


def label_tokens(
    sample: Sample, texts: TokenTexts | None, n_choices: int, slots: int, rng: np.random.Generator
) -> TokenLabels | None:
    """Label the tokens of a sample; None where it has neither token ids nor two domains.

    Parameters
    ----------
    sample : Sample
    texts : TokenTexts, optional
        For classes; all ids of the sample are known to them.
    n_choices : int
        States, or experts, of the widest layer.
    slots : int
        Cells that a token counts in: 1 in the state view, k in the expert view.
    rng : numpy.random.Generator
        Exchanges the domains of clusters.
    """
    n_rows = len(sample)
    names = sorted(set(sample.domains.values()))
    has_domains, has_ids = len(names) > 1, bool(n_rows) and bool((sample.token >= 0).any())
    if not has_domains and not has_ids:
        return None
    known = np.ones(n_rows, bool)
    domain: Integers = np.zeros(n_rows, np.int64)
    documents: dict[str, int] = {}
    if has_domains:
        domain, names = _domains(sample, names)
        known &= domain >= 0
    if has_ids:
        known &= sample.token >= 0
    exchanged = [_exchanged(sample, domain, known, rng) for _ in EXCHANGED] if has_domains else []
    token = np.where(known, sample.token, 0)
    value: Integers = np.zeros(n_rows, np.int64)
    values: tuple[str, ...] = ()
    if has_ids and texts is not None:
        classes = classify_tokens(texts, int(token.max()) + 1)
        value, values = _joined(classes_of_rows(classes, token), classes.names, known)
    stratum: Integers = np.zeros(n_rows, np.int64)
    ids: Integers = np.array([-1])
    if has_ids:
        least = max(LEAST_TOKENS, LEAST_PER_CELL * max(1, len(names)) * n_choices // slots)
        stratum, ids = _frequent(token, sample.group, known, value, least)
        if texts is None:
            top = ids[ids >= 0][:TESTED_IDS]
            place = np.full(len(ids), len(top))
            place[: len(top)] = np.arange(len(top))
            value, values = place[stratum], (*(f"id {one}" for one in top.tolist()), OTHERS)
    if has_domains:
        for name, of in zip(names, (domain == at for at in range(len(names))), strict=True):
            documents[name] = len(np.unique(sample.document[of & known]))
    cells = max(1, len(names)) * max(1, len(values)) * n_choices
    n_groups = max(FEWEST_GROUPS, min(sample.groups, MOST_CELLS // cells))
    meetings = meetings_of(stratum, sample.group % n_groups, n_groups, domain, value, *exchanged, known=known)
    frequent = int((ids[stratum[known]] >= 0).sum()) if has_ids else 0
    return TokenLabels(
        meetings, tuple(names) if has_domains else (), tuple(values), texts is not None and has_ids, ids,
        int(known.sum()), frequent, documents,
    )  # fmt: skip


def of_frequent_ids(of: MeetingChoices, labels: TokenLabels) -> tuple[MeetingChoices, Meetings]:
    """Return the meetings, and the choices, of tokens whose id has a stratum of its own.

    Among the other ids together, a domain stands for which of them it has.
    """
    whole = labels.meetings
    n_strata = int((labels.ids >= 0).sum())
    n = int(whole.start[n_strata])
    kept = replace(
        whole,
        row=whole.row[: whole.first[n]],
        first=whole.first[: n + 1],
        start=whole.start[: n_strata + 1],
        stratum=whole.stratum[:n],
        group=whole.group[:n],
        labels=tuple(label[:n] for label in whole.labels),
    )
    end = int(of.first[n])
    return replace(of, chosen=of.chosen[:end], count=of.count[:end], first=of.first[: n + 1]), kept


def _domains(sample: Sample, names: list[str]) -> tuple[Integers, list[str]]:
    """Return each row's place among the domains, −1 without one; the smallest of many are joined."""
    numbers, row = np.unique(sample.document, return_inverse=True)
    place = {name: at for at, name in enumerate(names)}
    of_document = np.array([place.get(sample.domains.get(int(one), ""), -1) for one in numbers], np.int64)
    domain = of_document[row]
    if len(names) <= MOST_DOMAINS:
        return domain, names
    size = np.bincount(domain[domain >= 0], minlength=len(names))
    kept = np.sort(np.argsort(-size, kind="stable")[: MOST_DOMAINS - 1])
    again = np.full(len(names) + 1, len(kept))
    again[kept], again[-1] = np.arange(len(kept)), -1
    return again[domain], [names[at] for at in kept] + [OTHERS]


def _exchanged(sample: Sample, domain: Integers, known: Integers, rng: np.random.Generator) -> Integers:
    """Return domains after whole clusters exchanged them: a cluster has one of its documents' domains."""
    _, place, cluster = np.unique(sample.cluster[known], return_index=True, return_inverse=True)
    found = np.zeros(len(domain), np.int64)
    found[known] = rng.permutation(domain[known][place])[cluster]
    return found


def _joined(code: Integers, names: tuple[str, ...], known: Integers) -> tuple[Integers, tuple[str, ...]]:
    """Return classes in use and their names; the rarest of many are joined."""
    used, value = used_classes(names, np.where(known, code, -1))
    if len(used) > MOST_CLASSES:
        size = np.bincount(value[value >= 0], minlength=len(used))
        kept = np.sort(np.argsort(-size, kind="stable")[: MOST_CLASSES - 1])
        again = np.full(len(used) + 1, len(kept))
        again[kept], again[-1] = np.arange(len(kept)), -1
        used, value = (*(used[at] for at in kept), OTHERS), again[value]
    return np.maximum(value, 0).astype(np.int64), used


def _frequent(
    token: Integers, group: Integers, known: Integers, value: Integers, least: int
) -> tuple[Integers, Integers]:
    """Return strata and their ids, the most frequent first; those of other ids, by value, are last."""
    numbers, place, count = np.unique(token[known], return_inverse=True, return_counts=True)
    n_groups = int(group.max(initial=0)) + 1
    met = np.unique(place.astype(np.int64) * n_groups + group[known]) // n_groups
    groups = np.bincount(met, minlength=len(numbers))
    chosen = np.flatnonzero((count >= least) & (groups >= LEAST_GROUPS))
    chosen = chosen[np.argsort(-count[chosen], kind="stable")][:MOST_IDS]
    stratum_of = np.full(len(numbers), -1)
    stratum_of[chosen] = np.arange(len(chosen))
    own = stratum_of[place]
    others = np.unique(value[known][own < 0])
    own = np.where(own < 0, len(chosen) + np.searchsorted(others, value[known]), own)
    stratum = np.zeros(len(token), np.int64)
    stratum[known] = own
    return stratum, np.append(numbers[chosen], np.full(len(others), -1)).astype(np.int64)
