"""Measure whether experts are worth prefetching: what predictions, perfect ones among them, save of the stall.

Claim
    1. Recall and precision over all choices say too much: on experts that are not in the cache both are lower.
    2. Prefetching shortens the stall where precision on experts that are not in the cache is above 75 %, and only
       there, as seen in one engine.
    3. Perfect eviction is worth more than perfect prefetching.
Data
    The traces of the tiny Mixtral (as many whole documents as have 60,000 tokens), of the same model with recorded
    lookahead, and of DeepSeek-V2-Lite (all tokens of both).
Method
    Replays of one sequence after the other with a cache in every layer. Predictors are fitted to other documents than
    the ones that are predicted. Bytes and seconds are estimated for a stated machine, on which the time that a layer
    computes is varied; differences from LRU are paired by documents. Predictions with planted errors show the
    precision from which on prefetching shortens the stall.
What would refute it
    1. A recall or a precision on experts that are not in the cache that is no lower. 2. A shorter stall below 75 %, or
    a longer one above. 3. A capacity and a time to compute at which perfect prefetching saves more of the stall than
    perfect eviction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import routestat as rs
from analyses.output import TRACES, Line, filled, lines_svg, write
from analyses.prefetch_findings import (
    CAUSAL_EVICTION,
    PERFECT_EVICTION,
    THRESHOLD,
    Point,
    Prefetch,
    agreement,
    compared,
    on_eviction,
    on_recall,
    on_threshold,
    pays_from,
    point,
    prefetches,
)
from analyses.prefetch_replays import (
    BANDWIDTH,
    COMPUTE,
    NO_CACHE,
    RIGHT,
    Replays,
    alone,
    best_causal,
    by_unit,
    make_replays,
    planted_errors,
    ratio_of_units,
)
from analyses.prefetch_tables import (
    capacities_table,
    computes_table,
    costs_table,
    recall_table,
    signed_percent,
)
from routestat.study.simulation_plan import PERFECT

GATE = "gate"


@dataclass(frozen=True)
class Case:
    """A trace and how it is replayed.

    Attributes
    ----------
    trace, title : str
    predictors : tuple of str
        The best that uses no hidden state first.
    expert : tuple of (int, int)
        Widths of the model and of one of its experts, whose three matrices are in bf16.
    capacities : tuple of float
        Experts per layer; the middle one is shown in detail.
    computes : tuple of float
        Milliseconds that a layer computes.
    most_tokens : int
    note : str
        For readers.
    """

    trace: str
    title: str
    predictors: tuple[str, ...]
    expert: tuple[int, int]
    capacities: tuple[float, ...]
    computes: tuple[float, ...]
    most_tokens: int
    note: str = ""

    @property
    def expert_bytes(self) -> float:
        """Of one expert of one layer."""
        return 3.0 * self.expert[0] * self.expert[1] * 2

    @property
    def middle(self) -> float:
        """The capacity that is shown in detail."""
        return self.capacities[len(self.capacities) // 2]


COMPUTES = (0.05, 0.2, 0.4, 0.6, 0.8, 1.0)
# Beyond 1 ms, for the tiny Mixtral: a layer that computes as long as a quarter, a half and all of a transfer.
LONG = (*COMPUTES[::5], 3.5, 7.0, 14.1)
TABLE, GATED = "ridge-all-token-id", ("ridge-all-token-id", GATE)
STAND_IN = (
    "The expert is one of Mixtral-8x7B, as a stand-in. Times to compute beyond 1 ms show what "
    "smaller weights or a faster link would do."
)
MIXTRAL, DEEPSEEK = (4096, 14336), (2048, 1408)
CASES = (
    Case(
        "deepseek-v2-lite-esft",
        "DeepSeek-V2-Lite",
        ("ridge-all",),
        DEEPSEEK,
        (8, 16, 32),
        COMPUTES,
        100_000,
        "No token ids are known.",
    ),
    Case(
        "tiny-mixtral-lookahead",
        "Tiny Mixtral with recorded lookahead",
        GATED,
        MIXTRAL,
        (3, 4, 6),
        LONG,
        100_000,
        STAND_IN,
    ),
    Case("tiny-mixtral", "Tiny Mixtral", (TABLE,), MIXTRAL, (3, 4, 6), LONG, 60_000, STAND_IN),
)


@dataclass(frozen=True, eq=False)
class Found:
    """What one case found.

    Attributes
    ----------
    case : Case
    replays : Replays
    prefetches : tuple of tuple of Prefetch
        All predictions at every capacity.
    points : dict
        By capacity and seconds of compute: every capacity at the usual time, the middle one at every time.
    """

    case: Case
    replays: Replays
    prefetches: tuple[tuple[Prefetch, ...], ...]
    points: dict[tuple[float, float], Point]

    @property
    def capacities(self) -> list[Point]:
        """At every capacity."""
        return [self.points[capacity, COMPUTE] for capacity in self.case.capacities]

    @property
    def computes(self) -> list[Point]:
        """At every time to compute."""
        return [self.points[self.case.middle, ms / 1e3] for ms in self.case.computes]


def find(case: Case, trace: rs.Trace) -> Found:
    """Compare predictions, policies and perfect knowledge on one trace."""
    replays = make_replays(trace, case.predictors, case.expert_bytes, case.most_tokens)
    return compare(case, replays)


def compare(case: Case, replays: Replays) -> Found:
    """Compare predictions, policies and perfect knowledge by replays of one trace."""
    perfect = replays.predictions.prefetch[PERFECT, 1]
    planted = planted_errors(perfect, replays.steps.routers, RIGHT, np.random.default_rng(0))
    places = [(capacity, COMPUTE) for capacity in case.capacities]
    times = [(case.middle, ms / 1e3) for ms in case.computes]
    points = {place: point(replays, *place, planted) for place in dict.fromkeys([*places, *times])}
    return Found(
        case,
        replays,
        tuple(tuple(prefetches(replays, capacity)) for capacity in case.capacities),
        points,
    )


def lines_of(found: Found) -> list[Line]:
    """Return the stall as a share of that without a cache, by milliseconds of compute."""
    replays, case = found.replays, found.case
    settings = {"LRU": alone(case.middle)} | compared(replays, case.middle)
    shown = (
        "LRU",
        CAUSAL_EVICTION,
        f"`{case.predictors[0]}`, 1 ahead",
        "perfect prefetch, 1 ahead",
        PERFECT_EVICTION,
    )
    lines = []
    for words in shown:
        estimates = []
        for ms in case.computes:
            with_, without = (
                by_unit(replays.sums(one, ms / 1e3).column("stall")) for one in (settings[words], NO_CACHE)
            )
            estimates.append(ratio_of_units(with_, without))
        lines.append(Line(words.replace("`", ""), case.computes, estimates))
    return lines


PICTURE = "worth_prefetching.svg"
TEXT = """# Is it worth prefetching?

Made by `python -m analyses.worth_prefetching`.

**Claim.** (1) Recall and precision over all choices say too much: on experts that are not in the cache, which alone
have to be loaded, both are lower. (2) Prefetching shortens the stall where precision on these experts is above
{threshold}, and only there, as was seen in one engine. (3) Perfect eviction is worth more than perfect prefetching, as
in that engine.

**Data.** Three traces; documents are chosen by a hash of their number where not all are replayed. The texts were read
by the models, not generated. **The tiny Mixtral is a small model, and the size of an expert is taken from
Mixtral-8x7B**, which may route otherwise: nothing here is a property of that model.

**Method.** Tokens are replayed one after the other (batch 1), as in generating text: what a token needs at a layer is
compared as a whole with the cache of that layer, which is empty before the first document and kept from each document
to the next. Predictors are fitted to nine tenths of the documents and predict the others, without a hidden state;
`gate` is the recorded choice of a later layer's own gate at the hidden state of the layer from which prefetching
starts. Prefetched experts wait in a buffer of their own beside the cache, which is not counted in its capacity: one of
as many experts as are prefetched for a token, times the layers ahead. Prefetching is combined with LRU; the best causal
eviction is the one of LRU, LFU, LFU with decay and eviction by a predictor that has the fewest loads. Perfect
prefetching knows the next layers' choices, perfect eviction (Belady's, with bypass) all later ones.

Loads are **simulated**, seconds **estimated**: experts come over one link of {bandwidth} GB/s in the order of their
requests, nothing is cancelled, and a layer computes for {compute} ms unless another time is stated; the time per
token is the stall and what all layers compute. An expert of
DeepSeek-V2-Lite has 3 × 2048 × 1408 weights in bf16, one of Mixtral-8x7B 3 × 4096 × 14336. The stall in units of a
transfer depends on the machine only by the ratio of compute to transfer. The precision that is needed comes from
perfect predictions in which experts are replaced by others at random, with as many experts as a token chooses, one
layer ahead. All intervals are 95 % over documents, those of changes paired.

**What would refute it.** (1) A recall or a precision on experts that are not in the
cache that is no lower. (2) A shorter stall with a
precision below {threshold}, or a longer one above. (3) A capacity and a time to compute at which perfect prefetching
saves more of the stall than perfect eviction.

{sections}

![Stall by time to compute]({picture})

{shown}: estimated stall as a share of that without a cache, by the time that a layer computes. Shaded: 95 % intervals
over documents.

## Conclusion

{conclusion}

So prefetching is worth it where a layer computes for a large part of a transfer, or where nearly all that is
prefetched is needed. Perfect eviction and perfect prefetching differ in kind: the first removes transfers, the second
only hides them behind computing. A right expert hides at most the time that the layers ahead compute, and a wrong one
occupies the link for a whole transfer, so that the precision that is needed is no constant: it rises as computing
becomes short beside a transfer. An engine that cancels wrong transfers as soon as the routing is known, or lets what is
missing pass them, would need less.
"""


SECTION = """## {title}

{tokens} tokens of {documents} documents, {layers} layers, {top_k} of {experts} experts; an expert of {megabytes:.1f} MB
takes {transfer:.2f} ms. {note}

Recall and precision of what is prefetched. Over all choices (measured), and on experts that are not in the cache of
LRU (measured predictions, simulated cache):

{recall}

A cache of {middle:g} experts per layer. Loads are simulated, seconds estimated with {compute:g} ms of compute; the best
causal eviction is `{policy}`:

{costs}

Change of the estimated stall against LRU, with {top_k} prefetched experts for a token, by capacity, and the
precision that is needed on experts that are not in the cache for a shorter stall:

{capacities}

With a cache of {middle:g} experts, by time to compute; without prefetching the stall does not depend on it:

{computes}"""


def section(found: Found) -> str:
    """Write what one case found."""
    case, replays = found.case, found.replays
    router = replays.steps.routers[0]
    return SECTION.format(
        title=case.title,
        tokens=f"{int(replays.steps.tokens.sum()):,}",
        documents=int(replays.steps.documents.sum()),
        layers=len(replays.steps.routers),
        top_k=router.top_k,
        experts=router.n_experts,
        megabytes=case.expert_bytes / 1e6,
        transfer=1e3 * replays.transfer,
        note=case.note,
        recall=recall_table(replays, found.prefetches),
        middle=case.middle,
        compute=1e3 * COMPUTE,
        policy=best_causal(replays, case.middle).policy,
        costs=costs_table(replays, case.middle),
        capacities=capacities_table(found.capacities),
        computes=computes_table(found.computes),
    )


def worth(found: Found) -> str:
    """Say what prefetching one layer ahead changes on one trace, and from which time to compute on it pays."""
    middle = found.points[found.case.middle, COMPUTE]
    parts = []
    for name in found.replays.predictors:
        words = f"`{name}`, 1 ahead"
        parts.append(
            f"prefetching by `{name}` changes the stall by {signed_percent(middle.changes[words])} and shortens it "
            f"{pays_from(found.computes, words)}"
        )
    parts += [
        f"{words} changes it by {signed_percent(middle.changes[words])}"
        for words in ("perfect prefetch, 1 ahead", CAUSAL_EVICTION, PERFECT_EVICTION)
    ]
    return f"- {found.case.title}, {middle.capacity:g} experts: {'; '.join(parts)}."


def conclusion(results: Sequence[Found]) -> str:
    """State what became of the claims, and whether prefetching is worth it, in words."""
    every = [one for found in results for at in found.prefetches for one in at]
    points = [(found.case.title, one) for found in results for one in found.points.values()]
    agree, counted = np.sum(
        [
            agreement([one for at in found.prefetches for one in at], list(found.points.values()))
            for found in results
        ],
        axis=0,
    )
    agrees = (
        f" Whether a real prediction one layer ahead shortens the stall agrees with this precision, which was found "
        f"with errors at random, at {agree} of {counted} points."
    )
    said = [
        on_recall(every),
        on_threshold(every, [one for _, one in points]) + agrees,
        on_eviction(points),
    ]
    answer = (
        f"With {1e3 * COMPUTE:g} ms of compute, at the middle capacity, one layer ahead, with the experts of one "
        "token, against LRU without prefetching:"
    )
    return "\n\n".join([*said, answer, "\n".join(worth(found) for found in results)])


def main() -> None:
    """Compare on the shipped traces, and write reports/analyses/worth_prefetching.md with its picture."""
    results = [find(case, rs.Trace.open(TRACES / case.trace)) for case in CASES]
    report(results)


def report(results: Sequence[Found]) -> None:
    """Print what was found, and write it with its picture."""
    text = TEXT.format(
        bandwidth=f"{BANDWIDTH / 1e9:g}",
        compute=f"{1e3 * COMPUTE:g}",
        threshold=f"{100 * THRESHOLD:g} %",
        sections="\n\n".join(section(found) for found in results),
        shown=f"{results[0].case.title}, {results[0].case.middle:g} experts per layer",
        picture=PICTURE,
        conclusion=conclusion(results),
    )
    print(text)
    write(
        PICTURE, lines_svg(lines_of(results[0]), "compute of a layer (ms)", "stall / stall without a cache")
    )
    write("worth_prefetching.md", filled(text))


if __name__ == "__main__":
    main()
