"""Replay of a trace through caches of experts.

What a step needs at one layer is an event: the union of the experts of its tokens. All of it is classified against the
cache as it was before the event, all that is missing is loaded, and what exceeds the capacity is removed at the end. A
replay of single accesses would count hits that no engine has, as a cache would change within an event.
"""

import numpy as np
from numpy.typing import NDArray

from routestat.counting.kernels.cache_state import Rules, Served, State
from routestat.counting.kernels.caches import replay_steps
from routestat.counting.kernels.next_uses import look_back
from routestat.forecast.kept_predictions import KeptPredictions
from routestat.serving.passes import cut_into_blocks, passes
from routestat.serving.replay_sums import COLUMNS, ReplaySums
from routestat.serving.setting_checks import require_hardware, require_inputs, require_setting
from routestat.serving.settings import CacheSetting, Hardware, policy_of
from routestat.serving.steps import Steps
from routestat.traces.validation import PHASES

_NO_PINS = np.zeros((0, 0), bool)
_NO_EXPERTS = np.zeros((0, 0, 0), np.int16)
_NO_SCORES = np.zeros((0, 0, 0), np.uint16)
# The number of each pattern of 16 bits.
_HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)


def replay(
    steps: Steps,
    setting: CacheSetting,
    *,
    pinned: NDArray[np.bool_] | None = None,
    eviction: KeptPredictions | None = None,
    prefetch: KeptPredictions | None = None,
    hardware: Hardware = Hardware(),  # noqa: B008 - frozen
) -> ReplaySums:
    """Replay the steps of a trace in one setting.

    The experts of an event are used in ascending order. A prefetched expert is kept beside the cache for one event,
    not counted in the capacity; if the event needs it, it enters the cache like every other. Candidates are requested
    at the event `lookahead` layers before, after what that one lacks: the first candidate of every token, then the
    second of every token, and so on. An event without a choice is none, and nothing is requested at it. Where the cache
    is emptied before documents, what LFU has counted is kept.

    Parameters
    ----------
    steps : Steps
    setting : CacheSetting
        A warm start takes two passes: units with even numbers after those with odd ones, and the reverse. Only the
        later ones of a pass are counted, and what is kept at its beginning is nothing.
    pinned : bool array ``[unit, expert of all layers]``, optional
        For the policy ``static``: what is kept while the documents of a unit are served, from its first use on.
    eviction : KeptPredictions, optional
        For the policy ``predictor``: predictions of every token that use no layer of the token itself.
    prefetch : KeptPredictions, optional
        For a lookahead: the first `setting.candidates` experts of every token are prefetched.
    hardware : Hardware

    Returns
    -------
    ReplaySums

    Raises
    ------
    RoutestatError
        See `require_setting`, `require_inputs` and `require_hardware`.

    References
    ----------
    Belady (1966), A study of replacement algorithms for a virtual-storage computer, IBM Systems Journal 5.
    """
    require_setting(setting, steps)
    require_inputs(setting, steps, pinned, eviction, prefetch)
    require_hardware(hardware)
    rules = _rules(steps, setting, pinned, eviction, prefetch, hardware)
    sums = np.zeros((steps.n_units, len(PHASES), len(steps.routers), len(COLUMNS)))
    for order, counted in passes(steps, setting.start):
        _replay_pass(steps, rules, order, counted, not policy_of(setting.policy).causal, sums)
    return ReplaySums(sums)


def _rules(
    steps: Steps,
    setting: CacheSetting,
    pinned: NDArray[np.bool_] | None,
    eviction: KeptPredictions | None,
    prefetch: KeptPredictions | None,
    hardware: Hardware,
) -> Rules:
    """Return the setting as the compiled loop knows it."""
    transfer = hardware.transfer_seconds
    likely, score = _NO_EXPERTS, _NO_SCORES
    if setting.policy == "predictor" and eviction is not None:
        likely, score = eviction.experts, np.ascontiguousarray(eviction.score, np.float16).view(np.uint16)
    return Rules(
        policy=policy_of(setting.policy).code,
        slots=0 if setting.policy == "none" else setting.slots(len(steps.routers)),
        pooled=setting.scope == "pool",
        emptied=setting.start == "document",
        half_life=float(setting.half_life),
        lookahead=setting.lookahead,
        candidates=setting.candidates,
        transfer=0.0 if transfer is None else float(transfer),
        compute=float(hardware.compute),
        pinned=pinned if setting.policy == "static" and pinned is not None else _NO_PINS,
        ahead=prefetch.experts if setting.lookahead and prefetch is not None else _NO_EXPERTS,
        likely=likely,
        score=score,
        numbers=_HALVES,
    )


def _replay_pass(
    steps: Steps,
    rules: Rules,
    order: NDArray[np.int64],
    counted: int,
    future: bool,
    sums: NDArray[np.float64],
) -> None:
    """Replay one order of steps, block by block."""
    served = Served(
        steps.choices, steps.row, steps.next_row, steps.start, steps.phase, steps.unit, steps.first, steps.offsets,
        order,
    )  # fmt: skip
    cuts, most = cut_into_blocks(steps, order)
    looks = served.choices, served.start, served.offset, order
    next_use = np.full((len(cuts) if future else 0, served.offset[-1]), -1, np.int32)
    following = np.empty((most if future else 0, *served.choices.shape[1:]), np.int32)
    unwritten = following[:0]
    for b in range(len(next_use) - 2, 0, -1):
        next_use[b - 1] = next_use[b]
        look_back(*looks, cuts[b], cuts[b + 1], next_use[b - 1], unwritten)
    state = _empty_state(served.offset, following)
    for b in range(len(cuts) - 1):
        if future:
            look_back(*looks, cuts[b], cuts[b + 1], next_use[b], following)
        replay_steps(served, rules, state, cuts[b], cuts[b + 1], counted, sums)


def _empty_state(offset: NDArray[np.int64], following: NDArray[np.int32]) -> State:
    """Return the state before the first step."""
    n, layers = int(offset[-1]), len(offset) - 1
    return State(
        value=np.zeros(n),
        last=np.zeros(n, np.int64),
        heap=np.zeros(n, np.int64),
        place=np.full(n, -1),
        size=np.zeros(layers, np.int64),
        seen=np.zeros(n, np.int64),
        pending=np.full(n, -1),
        arrival=np.zeros(n),
        following=following,
        union=np.zeros(n, np.int64),
        aside=np.zeros(n, np.int64),
        fresh=np.zeros(n),
        number=np.zeros(2, np.int64),
        clock=np.zeros(3),
    )
