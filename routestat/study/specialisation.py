"""What experts specialise in: domains and classes of tokens."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from routestat.counting.document_sample import Sample, at_most
from routestat.counting.experts import expert_rows
from routestat.counting.labelled_tokens import MeetingChoices, count_choices
from routestat.inference.base.clustered_score_test import ScoreTest
from routestat.inference.base.estimate import Estimate
from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.base.tables import Floats
from routestat.progress import Tick, in_threads, silent
from routestat.structure.half_samples import halves_of
from routestat.structure.label_tests import LabelCells
from routestat.structure.shown_tokens import ShownToken, shown_tokens
from routestat.structure.specialisation import LayerSpecialisation, specialise
from routestat.structure.token_labels import DOMAIN, LEXICAL, TokenLabels, label_tokens
from routestat.traces.metadata import Router
from routestat.traces.token_texts import TokenTexts, require_fitting

#: Rows of whole documents that are used at most.
MOST_ROWS = 1 << 22
#: Cells that are listed with the tokens that show them, per layer and label.
MOST_LISTED = 2
#: One of two is said to be most of it where it is so many times as large.
MOSTLY = 4.0
NOT_TESTED = "not tested"
_LEVEL = math.log10(0.05)
_NAME = "measuring specialisation"
# The kind of a cell, the place of its domain or class, and its expert.
_Place = tuple[str, int, int]


@dataclass(frozen=True)
class SpecialisedCell:
    """A domain, or a class of tokens, for which an expert is chosen more often than expected.

    Attributes
    ----------
    router : Router
    kind : str
        "domain", "class", or "token" for a token id.
    value : str
        Which.
    expert : int
    observed, expected, lift, low, high, z, log10_q : float
        As in `LabelCells`; q-values over all cells of the kind in all layers.
    tokens : tuple of ShownToken
        Tokens that show it; only for the clearest cells of each layer.
    """

    router: Router
    kind: str
    value: str
    expert: int
    observed: float
    expected: float
    lift: float
    low: float
    high: float
    z: float
    log10_q: float
    tokens: tuple[ShownToken, ...]


@dataclass(frozen=True, eq=False)
class LayerFinding:
    """What the experts of one layer specialise in, with q-values over the layers.

    Attributes
    ----------
    router : Router
    found : LayerSpecialisation
    log10_q_domain, log10_q_domain_given, log10_q_lexical_given : float
        Of the layer's tests, after Benjamini and Hochberg over the layers; NaN where there is none.
    verdict : str
        "lexical", "topical", "mostly lexical", "mostly topical", "both" or "neither"; "domain" where token ids are
        unknown, so that the two cannot be separated; `NOT_TESTED` where nothing was found and not all could be tested.
    experts : tuple of str
        The verdict on every expert, by the cells that stand out.
    """

    router: Router
    found: LayerSpecialisation
    log10_q_domain: float
    log10_q_domain_given: float
    log10_q_lexical_given: float
    verdict: str
    experts: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SpecialisationFindings:
    """Dependence of experts on domains and on classes of tokens.

    Attributes
    ----------
    layers : tuple of LayerFinding
        Empty where nothing could be measured.
    cells : tuple of SpecialisedCell
        Domains and classes that stand out (q < 0.05, lift above 1), the largest lower limit of the lift first.
    n_cells, n_found : mapping of str to int
        Cells tested, and found in either direction, by kind.
    domains, values : tuple of str
    documents : mapping of str to int
        Documents of every domain.
    classes : bool
        Whether `values` are classes of texts; otherwise they are the most frequent token ids.
    n_tokens, n_ids : int
        Tokens with all labels, and token ids that were frequent enough to be separated.
    share_frequent : float
        The share of tokens that have one of these ids.
    texts : TokenTexts, optional
    sampled : str
        The part of the trace that was used, if not all.
    note : str
        A doubt about the tokenizer, or empty.
    reason : str
        Why nothing was measured, or empty.
    """

    layers: tuple[LayerFinding, ...] = ()
    cells: tuple[SpecialisedCell, ...] = ()
    n_cells: Mapping[str, int] = field(default_factory=dict)
    n_found: Mapping[str, int] = field(default_factory=dict)
    domains: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    documents: Mapping[str, int] = field(default_factory=dict)
    classes: bool = False
    n_tokens: int = 0
    n_ids: int = 0
    share_frequent: float = math.nan
    texts: TokenTexts | None = None
    sampled: str = ""
    note: str = ""
    reason: str = ""

    @property
    def lexical_kind(self) -> str:
        """What `values` are: "class" or "token"."""
        return "class" if self.classes else "token"


def measure_specialisation(
    sample: Sample,
    states: str,
    token_texts: TokenTexts | None,
    rng: np.random.Generator,
    tick: Tick = silent,
    threads: int | None = None,
) -> SpecialisationFindings:
    """Measure the dependence of experts on domains and on classes of tokens.

    Parameters
    ----------
    sample : Sample
    states : {"subset", "expert"}
        The view.
    token_texts : TokenTexts, optional
        For classes of tokens.
    rng : numpy.random.Generator
        Exchanges domains between clusters, and draws halves.
    tick : callable(what, done, total)
    threads : int, optional

    Raises
    ------
    RoutestatError
        If the texts do not fit the ids of the sample.
    """
    note = "" if token_texts is None else require_fitting(token_texts, sample.token)
    used = at_most(sample, MOST_ROWS)
    wide = states == "expert"
    widest = max((r.n_experts if wide else r.alphabet.size for r in used.routers), default=1)
    slots = min((r.top_k for r in used.routers), default=1) if wide else 1
    labels_rng, halves_rng = rng.spawn(2)
    routers = used.routers
    tick(_NAME, 0, len(routers))
    labels = label_tokens(used, token_texts, widest, slots, labels_rng)
    if labels is None or not labels.n_tokens:
        tick(_NAME, len(routers), len(routers))
        why = "the trace has neither token ids nor documents of two or more domains"
        return SpecialisationFindings(
            reason=why if labels is None else "no token has both an id and a domain"
        )
    halves = halves_of(labels.meetings.n_groups, halves_rng)

    def of_router(router: Router) -> tuple[LayerSpecialisation, dict[_Place, tuple[ShownToken, ...]]]:
        of = count_choices(used, router, states, labels.meetings)
        found = specialise(of, labels, halves)
        return found, _examples(found, of, labels, used, router) if labels.values else {}

    done = in_threads([partial(of_router, router) for router in routers], threads, tick, _NAME)
    layers, examples = [one for one, _ in done], [shown for _, shown in done]
    kinds = {"domain": [one.domain_cells for one in layers]}
    lexical = "class" if labels.classes else "token"
    kinds[lexical] = [one.lexical_cells for one in layers]
    adjusted = {kind: _adjusted(cells) for kind, cells in kinds.items()}
    cells = [
        cell
        for kind, names in (("domain", labels.domains), (lexical, labels.values))
        for at, router in enumerate(routers)
        for cell in _standing_out(router, kind, names, kinds[kind][at], adjusted[kind][at], examples[at])
    ]
    return SpecialisationFindings(
        layers=_findings(routers, layers, adjusted["domain"], adjusted[lexical]),
        cells=tuple(sorted(cells, key=lambda cell: -cell.low)),
        n_cells=_counted(adjusted, math.inf),
        n_found=_counted(adjusted, _LEVEL),
        domains=labels.domains,
        values=labels.values,
        documents=labels.documents,
        classes=labels.classes,
        n_tokens=labels.n_tokens,
        n_ids=int((labels.ids >= 0).sum()),
        share_frequent=labels.n_frequent / labels.n_tokens if labels.values else math.nan,
        texts=token_texts,
        sampled=used.note,
        note=note,
    )


def _adjusted(cells: Sequence[LabelCells | None]) -> list[Floats | None]:
    """Adjust the p-values of the cells of all layers together, after Benjamini and Yekutieli."""
    known = [one.log10_p.ravel() for one in cells if one is not None]
    if not known:
        return [None] * len(cells)
    q = adjust_log10(np.concatenate(known), "by")
    found: list[Floats | None] = []
    first = 0
    for one in cells:
        if one is None:
            found.append(None)
            continue
        found.append(q[first : first + one.log10_p.size].reshape(one.log10_p.shape))
        first += one.log10_p.size
    return found


def _counted(adjusted: Mapping[str, Sequence[Floats | None]], below: float) -> dict[str, int]:
    """Count tested cells with q-values below a level, by kind; kinds without any test are left out."""
    tested = {kind: [q for q in of if q is not None] for kind, of in adjusted.items()}
    return {kind: sum(int((q < below).sum()) for q in of) for kind, of in tested.items() if of}


def _standing_out(
    router: Router,
    kind: str,
    names: Sequence[str],
    cells: LabelCells | None,
    log10_q: Floats | None,
    examples: Mapping[_Place, tuple[ShownToken, ...]],
) -> list[SpecialisedCell]:
    if cells is None or log10_q is None:
        return []
    return [
        SpecialisedCell(
            router=router,
            kind=kind,
            value=names[at],
            expert=expert,
            observed=float(cells.observed[at, expert]),
            expected=float(cells.expected[at, expert]),
            lift=float(cells.lift[at, expert]),
            low=float(cells.low[at, expert]),
            high=float(cells.high[at, expert]),
            z=float(cells.z[at, expert]),
            log10_q=float(log10_q[at, expert]),
            tokens=examples.get((kind, at, expert), ()),
        )
        for at, expert in np.argwhere((log10_q < _LEVEL) & (cells.lift > 1)).tolist()
    ]


def _examples(
    found: LayerSpecialisation, of: MeetingChoices, labels: TokenLabels, sample: Sample, router: Router
) -> dict[_Place, tuple[ShownToken, ...]]:
    """Return the tokens that show the clearest cells of a layer, whichever of them are found later."""
    shown: dict[_Place, tuple[ShownToken, ...]] = {}
    experts = expert_rows(sample.columns[router.name], router)
    for label, kind, cells in (
        (DOMAIN, "domain", found.domain_cells),
        (LEXICAL, "class", found.lexical_cells),
    ):
        if cells is None or (kind == "class" and not labels.classes):
            continue
        low = np.where((cells.log10_p < _LEVEL) & (cells.lift > 1), cells.low, -math.inf)
        for place in np.argsort(-low, axis=None, kind="stable")[:MOST_LISTED].tolist():
            at, expert = divmod(place, low.shape[1])
            if low[at, expert] > 0:
                shown[kind, at, expert] = shown_tokens(sample, experts, of, labels, label, at, expert)
    return shown


def _findings(
    routers: Sequence[Router],
    layers: Sequence[LayerSpecialisation],
    domain_q: Sequence[Floats | None],
    lexical_q: Sequence[Floats | None],
) -> tuple[LayerFinding, ...]:
    tests = [
        adjust_log10([math.nan if test is None else test.log10_p for test in of], "bh")
        for of in zip(
            *((o.domain_test, o.domain_given_test, o.lexical_given_test) for o in layers), strict=True
        )
    ]
    return tuple(
        LayerFinding(
            router,
            found,
            float(tests[0][at]),
            float(tests[1][at]),
            float(tests[2][at]),
            verdict=_verdict_of_layer(found, *(bool(q[at] < _LEVEL) for q in tests)),
            experts=_verdicts_of_experts(found, domain_q[at], lexical_q[at]),
        )
        for at, (router, found) in enumerate(zip(routers, layers, strict=True))
    )


def _verdict_of_layer(
    found: LayerSpecialisation, domain: bool, domain_given: bool, lexical_given: bool
) -> str:
    if found.by_token is None:
        return "domain" if domain else _nothing_of(found.domain_test)
    topical, lexical = found.by_token.domain_given, found.by_token.lexical_given
    # NaN, without domains, is not above zero.
    is_topical = domain_given and topical.low > max(0.0, found.domain_given_shuffled)
    is_lexical = lexical_given and lexical.low > 0
    if not (is_topical or is_lexical):
        return _nothing_of(found.domain_given_test, found.lexical_given_test)
    return verdict_of(is_topical, is_lexical, topical, lexical)


def _nothing_of(*tests: ScoreTest | None) -> str:
    """Say that tests found nothing; that they are none where any of those that apply could not be done."""
    return NOT_TESTED if any(one is not None and math.isnan(one.log10_p) for one in tests) else "neither"


def verdict_of(
    is_topical: bool, is_lexical: bool, topical: Estimate | float, lexical: Estimate | float
) -> str:
    """Describe what a choice depends on.

    Parameters
    ----------
    is_topical, is_lexical : bool
        Whether it depends on the domain at one token id, and on the token inside one domain.
    topical, lexical : Estimate or float
        How much, in bits; one that is `MOSTLY` times as large as the other is most of it.
    """
    if not (is_topical and is_lexical):
        return "topical" if is_topical else "lexical" if is_lexical else "neither"
    bits = [one.value if isinstance(one, Estimate) else one for one in (topical, lexical)]
    if bits[0] >= MOSTLY * bits[1]:
        return "mostly topical"
    return "mostly lexical" if bits[1] >= MOSTLY * bits[0] else "both"


def _verdicts_of_experts(
    found: LayerSpecialisation, domain_q: Floats | None, lexical_q: Floats | None
) -> tuple[str, ...]:
    """Return what each expert depends on: where a cell stands out, and by the bits where both kinds do."""
    n_experts = len(found.loads)
    topical, lexical = (_found_of(q, n_experts) for q in (domain_q, lexical_q))
    nothing = [
        NOT_TESTED
        if any(q is not None and np.isnan(q[:, e]).all() for q in (domain_q, lexical_q))
        else "neither"
        for e in range(n_experts)
    ]
    if found.by_token is None:
        return tuple("domain" if one else nothing[e] for e, one in enumerate(topical))
    domain_bits, lexical_bits = found.expert_domain.value, found.expert_lexical.value
    return tuple(
        verdict_of(topical[e], lexical[e], float(domain_bits[e]), float(lexical_bits[e]))
        if topical[e] or lexical[e]
        else nothing[e]
        for e in range(n_experts)
    )


def _found_of(log10_q: Floats | None, n_experts: int) -> list[bool]:
    """Whether any cell of each expert is found."""
    return [log10_q is not None and bool((log10_q[:, expert] < _LEVEL).any()) for expert in range(n_experts)]
