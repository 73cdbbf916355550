"""Statistics of pairs of layers: one table of them for results.json, CSV, terminal and page.

A new statistic is one more row of `DEPENDENCE` or `PARTS`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from routestat.inference.association.independence import Independence
from routestat.inference.information.scarcity import Scarcity
from routestat.report.records.pair_statistic import LAST, Column, Limits, PairStatistic
from routestat.report.records.plain import Record, note, reason
from routestat.study.conditional_dependence import ConditionalDependence
from routestat.study.information_budget import InformationBudget
from routestat.study.layer_pairs import LayerPair


def _statistics_of_conditional(
    key: str, p_key: str, of: Callable[[LayerPair], ConditionalDependence | None], **shown: Any
) -> tuple[PairStatistic, ...]:
    """Return the statistics of a conditional dependence: information, noise floor and test."""

    def part(get: Callable[[ConditionalDependence], Any]) -> Callable[[LayerPair], Any]:
        return lambda pair: None if (found := of(pair)) is None else get(found)

    return (
        PairStatistic(
            key,
            part(lambda found: found.information.mi_bits),
            unit="bits",
            limits=part(lambda found: (found.information.low, found.information.high)),
            cautions=lambda pair: (near_noise_floor(of(pair)),),
            page=shown.get("page", ()),
            terminal=shown.get("terminal"),
            words=shown.get("words", ""),
        ),
        PairStatistic(
            f"{key}_shuffled",
            part(lambda found: found.shuffled_bits),
            unit="bits",
            page=shown.get("floor", ()),
        ),
        PairStatistic(p_key, part(lambda found: found.test.log10_p_clustered), page=shown.get("p", ())),
    )


def near_noise_floor(part: ConditionalDependence | None) -> str | None:
    """Return the caution on an estimate near its noise floor."""
    if part is None or not part.is_near_noise_floor or part.is_safely_zero:
        return None
    return (
        f"{abs(part.shuffled_bits):.3g} bits are found in shuffled data: the estimate is near its noise floor"
    )


def _scarce(pair: LayerPair) -> tuple[str | None, ...]:
    return (pair.scarce.caution,)


def _limits_of(name: str) -> Callable[[LayerPair], Limits | None]:
    """Return the limits of an attribute that has `low` and `high`."""
    return lambda pair: None if (found := getattr(pair, name)) is None else (found.low, found.high)


def _of_test(name: str) -> Callable[[LayerPair], Any]:
    return lambda pair: getattr(pair.test, name)


def _of_effect(name: str) -> Callable[[LayerPair], Any]:
    return lambda pair: getattr(pair.effect, name)


def _of_types(name: str) -> Callable[[LayerPair], Any]:
    return lambda pair: None if pair.token_types is None else getattr(pair.token_types, name)


def _state(key: str, value: Callable[[LayerPair], Any], **options: Any) -> PairStatistic:
    return PairStatistic(key, value, states_only=True, **options)


#: The table of a pair: tests, information and effect sizes, in the order of results.json.
DEPENDENCE: tuple[PairStatistic, ...] = (
    PairStatistic("n_tokens", lambda pair: pair.n_tokens, page=(Column("tokens", 1),)),
    PairStatistic("n_documents", lambda pair: pair.n_documents, page=(Column("documents", 2),)),
    _state("chi2", _of_test("chi2")),
    _state("dof", _of_test("dof")),
    _state("g", _of_test("g")),
    _state(
        "log10_p_iid",
        _of_test("log10_p_g"),
        page=(Column("log10 p, i.i.d.: takes tokens as independent, do not use", 9, discouraged=True),),
    ),
    _state(
        "design_effect",
        _of_test("design_effect"),
        words=(
            "The variance of the counts between documents over that of independent tokens; loads and transition "
            "probabilities have their own design effects."
        ),
        page=(Column("design effect of the table", 6),),
    ),
    _state("log10_p_clustered_first_order", _of_test("log10_p_clustered_first_order")),
    _state("cramers_v", _of_test("cramers_v")),
    _state(
        "cramers_v_corrected",
        _of_test("cramers_v_corrected"),
        words="0 for independence and 1 for a one-to-one relation; corrected for its bias.",
        page=(Column("Cramér’s V, corrected", 4),),
    ),
    _state("cramers_v_jackknife", _of_effect("v")),
    _state("cramers_v_ci95", lambda pair: [pair.effect.low, pair.effect.high] if pair.effect else None),
    _state("cramers_v_threshold", _of_effect("threshold")),
    _state("log10_p_above_threshold", _of_effect("log10_p")),
    _state(
        "theils_u",
        _of_test("theils_u"),
        words="The share of the target’s entropy that the source explains.",
        cautions=_scarce,
        page=(Column("Theil’s U", 5),),
    ),
    _state("theils_u_reverse", _of_test("theils_u_reverse")),
    _state("gk_tau", _of_test("gk_tau")),
    _state("gk_tau_reverse", _of_test("gk_tau_reverse")),
    _state("gk_lambda", _of_test("gk_lambda")),
    _state("gk_lambda_reverse", _of_test("gk_lambda_reverse")),
    PairStatistic("p_clustered", _of_test("p_clustered")),
    PairStatistic(
        "log10_p_clustered",
        _of_test("log10_p_clustered"),
        page=(Column("log10 p, clustered", 7),),
        terminal=Column("log10 p", LAST + 1),
    ),
    PairStatistic("q_clustered", lambda pair: pair.q_clustered),
    PairStatistic("log10_q_clustered", lambda pair: pair.log10_q_clustered),
    PairStatistic("mi_bits_plugin", lambda pair: pair.information.mi_bits_plugin, unit="bits"),
    PairStatistic(
        "mi_bits",
        lambda pair: pair.information.mi_bits,
        unit="bits",
        limits=lambda pair: covered(pair.information.low, pair.information.high, pair.scarce),
        cautions=_scarce,
        hides_interval=True,
        page=(Column("mutual information (bits)", 3), Column("in all", 0, "parts")),
        terminal=Column("MI", 1, interval=True),
    ),
    _state("mi_bits_iid", lambda pair: pair.iid_bits, unit="bits"),
    _state("mi_estimator_iid", lambda pair: pair.iid_estimator),
    PairStatistic(
        "mi_bits_unit", lambda pair: "token" if isinstance(pair.test, Independence) else "pair of slots"
    ),
)

#: What the dependence is due to.
PARTS: tuple[PairStatistic, ...] = (
    PairStatistic(
        "mi_bits_within_document",
        lambda pair: pair.within.mi_bits,
        unit="bits",
        words=(
            "How far the joint distribution is from independence inside every document. The rest of the total is due "
            "to topics: documents differ in their loads."
        ),
        limits=_limits_of("within"),
        cautions=lambda pair: (pair.scarce.caution, pair.within.caution),
        hides_interval=True,
        page=(Column("within documents", 1, "parts"),),
        terminal=Column("within doc", 2),
    ),
    PairStatistic(
        "log10_p_within_document",
        lambda pair: pair.within.log10_p_clustered,
        page=(Column("log10 p", 2, "parts"),),
    ),
    PairStatistic(
        "mi_bits_swapped_types",
        _of_types("kept_bits"),
        unit="bits",
        words=(
            "What remains when every token type keeps its choices at the source and gets the choices of another type "
            "of similar frequency at the target. Any two functions of a small vocabulary share that much."
        ),
        limits=lambda pair: None if (t := pair.token_types) is None else (t.kept_low, t.kept_high),
        cautions=_scarce,
        page=(Column("explained by the token type", 3, "parts"),),
    ),
    PairStatistic(
        "mi_bits_beyond_token_type",
        _of_types("beyond_bits"),
        unit="bits",
        words="The rest of the total.",
        limits=_limits_of("token_types"),
        cautions=_scarce,
        page=(Column("not explained by the token type", 4, "parts"),),
        terminal=Column("beyond types", 3),
    ),
    PairStatistic(
        "log10_p_beyond_token_type",
        _of_types("log10_p"),
        page=(Column("log10 p", 5, "parts"),),
    ),
    *_statistics_of_conditional(
        "mi_bits_given_token",
        "log10_p_given_token",
        lambda pair: pair.given_token,
        words=(
            "What source and target share among tokens of one type: dependence of the layers that is not due to the "
            "token id. The noise floor is the same estimate after the choices are shuffled among tokens of a type; "
            "ignore estimates near it."
        ),
        page=(Column("given the token", 6, "parts"),),
        floor=(Column("noise floor (shuffled)", 7, "parts"),),
        p=(Column("log10 p", 8, "parts"),),
        terminal=Column("given token", 4),
    ),
    *_statistics_of_conditional(
        "mi_bits_given_previous",
        "log10_p_given_previous",
        lambda pair: pair.given_previous,
        words=(
            "What source and target share among tokens whose previous token made the same choice at the target. "
            "Information given a condition may be larger than the total."
        ),
        page=(Column("given the previous token’s choice", 9, "parts", states_only=True),),
        floor=(Column("noise floor (shuffled)", 10, "parts", states_only=True),),
    ),
    PairStatistic(
        "p_permuted", lambda pair: pair.p_permuted, optional=True, page=(Column("p, documents permuted", 8),)
    ),
)


def layer_pair_record(pair: LayerPair) -> Record:
    """Return an item of `dependence[]`."""
    record: Record = {"source": pair.source.layer, "target": pair.target.layer}
    for statistic in DEPENDENCE:
        record |= statistic.record(pair)
    record |= reason(pair.test.reason, pair.information.reason, pair.scarce.reason)
    record |= note(pair.test.note) | scarcity_record(pair.scarce)
    for statistic in PARTS:
        record |= statistic.record(pair)
    types = pair.token_types.reason if pair.token_types else None
    given = (pair.within.reason, types, *pair.reasons)
    return record | {
        "parts_note": pair.sample_note,
        "parts_reasons": [one for one in dict.fromkeys(given) if one],
        "parts_cautions": part_cautions(pair),
    }


def part_cautions(pair: LayerPair) -> dict[str, str]:
    """Return the cautions on single parts of the dependence, by their keys."""
    found = {
        "mi_bits_within_document": pair.within.caution,
        "mi_bits_given_token": near_noise_floor(pair.given_token),
        "mi_bits_given_previous": near_noise_floor(pair.given_previous),
    }
    return {key: text for key, text in found.items() if text}


def page_columns(table: str, pairs: Sequence[LayerPair]) -> list[tuple[Column, PairStatistic]]:
    """Return the columns of a table of the page, from left to right; those of the other view are left out."""
    states = all(isinstance(pair.test, Independence) for pair in pairs)
    found = [
        (column, statistic)
        for statistic in (*DEPENDENCE, *PARTS)
        for column in statistic.page
        if column.table == table and (states or not column.states_only)
    ]
    found = [item for item in found if any(item[1].record(pair) for pair in pairs)]
    return sorted(found, key=lambda item: item[0].place)


def terminal_columns() -> list[PairStatistic]:
    """Return the statistics that the terminal shows, from left to right."""
    shown = [one for one in (*DEPENDENCE, *PARTS) if one.terminal is not None]
    return sorted(shown, key=lambda one: one.terminal.place if one.terminal else LAST)


def by_information(pairs: Sequence[LayerPair]) -> list[LayerPair]:
    """Sort by information, largest first and undefined last."""
    return sorted(pairs, key=lambda pair: (math.isnan(pair.information.mi_bits), -pair.information.mi_bits))


def covered(low: float, high: float, scarce: Scarcity) -> Limits:
    """Return the interval of a table's information, undefined where it would miss the truth too often."""
    return (low, high) if scarce.covered else (math.nan, math.nan)


def scarcity_record(scarce: Scarcity) -> Record:
    """Return the caution on the information of a table, and whether its interval is given; no keys without one."""
    if not scarce.caution:
        return {}
    return {"caution": scarce.caution, **({} if scarce.covered else {"mi_bits_ci95_covers": False})}


def budget_record(budget: InformationBudget, pairs: Sequence[LayerPair]) -> Record:
    """Return `budget`: sums over the depth."""
    few = sum(bool(pair.scarce.caution) for pair in pairs)
    text = f"in {few} of {len(pairs)} pairs of layers tokens are too few for the tables: the sum is too high"
    return {
        "adjacent_bits": budget.adjacent_bits,
        "adjacent_bits_se_at_most": budget.adjacent_error,
        "skip_bits": budget.skip_bits,
        "skip_bits_se_at_most": budget.skip_error,
        "rest_bits": None,
        **reason(budget.reason),
        **({"caution": text} if few else {}),
    }
