"""What the compiled replay of caches reads, and what it keeps from step to step."""

from typing import NamedTuple

from routestat.counting.kernels.compiling import Array


class Served(NamedTuple):
    """Choices in the order of their steps, as in `routestat.serving.steps.Steps`, and the order of one pass.

    Attributes
    ----------
    choices : int16 array ``[token, layer, slot]``
    row, next_row : int array ``[token]``
    start : int array ``[step + 1]``
    phase, unit, first : array ``[step]``
    offset : int array ``[layer + 1]``
    order : int array ``[place]``
        Steps.
    """

    choices: Array
    row: Array
    next_row: Array
    start: Array
    phase: Array
    unit: Array
    first: Array
    offset: Array
    order: Array


class Rules(NamedTuple):
    """What is simulated.

    Attributes
    ----------
    policy : int
    slots : int
        Of each cache.
    pooled, emptied : bool
        One cache for all layers; emptied before every batch of documents.
    half_life : float
        In steps.
    lookahead, candidates : int
    transfer, compute : float
        Seconds.
    pinned : bool array ``[unit, expert of all layers]``
        Empty unless the policy is static.
    ahead : int16 array ``[row, layer, place]``
        Experts to prefetch.
    likely : int16 array ``[row, layer, place]``
        Experts of the policy's predictor.
    score : uint16 array ``[row, layer, place]``
        Bits of their half-precision scores.
    numbers : float32 array ``[65536]``
        The number of each pattern of bits: compiled loops know no half precision.
    """

    policy: int
    slots: int
    pooled: bool
    emptied: bool
    half_life: float
    lookahead: int
    candidates: int
    transfer: float
    compute: float
    pinned: Array
    ahead: Array
    likely: Array
    score: Array
    numbers: Array


class State(NamedTuple):
    """What is kept from step to step; experts are numbered over all layers.

    Attributes
    ----------
    value : float array ``[expert]``
    last : int array ``[expert]``
        Number of its last use.
    heap, place : int array ``[expert]``
        The caches, as heaps of their experts; places in them, −1 outside.
    size : int array ``[cache]``
    seen : int array ``[expert]``
        The last event that needed it.
    pending : int array ``[expert]``
        The last step for which it was prefetched.
    arrival : float array ``[expert]``
        When that arrives, in seconds of this step.
    following : int32 array ``[token, layer, slot]``
        Of the current steps; see `look_back`. Empty unless the policy knows the future.
    union, aside : int array ``[expert]``
        Memory for the experts of an event.
    fresh : float array ``[expert]``
        Memory for new values.
    number : int array ``[2]``
        Of uses and of events so far.
    clock : float array ``[3]``
        The time, when the link is free, and the step at which a use is worth one.
    """

    value: Array
    last: Array
    heap: Array
    place: Array
    size: Array
    seen: Array
    pending: Array
    arrival: Array
    following: Array
    union: Array
    aside: Array
    fresh: Array
    number: Array
    clock: Array
