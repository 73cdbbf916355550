"""Policies of a cache of experts, what is simulated, and the machine it is simulated on."""

from dataclasses import dataclass

#: Where a cache is: one of its own for every layer, or one pool for all of them.
SCOPES = ("layer", "pool")
#: How a replay begins. cold: the cache is empty before the first document and kept from each to the next. warm: it is
#: as other documents left it. document: it is empty before every batch of documents.
STARTS = ("cold", "warm", "document")
#: Tokens after which the count of a use is worth half, in the decayed form of LFU.
HALF_LIFE = 128.0


@dataclass(frozen=True, slots=True)
class Policy:
    """One registered policy.

    Attributes
    ----------
    name : str
        As results.json and the command line name it.
    words : str
        What it keeps, for readers.
    code : int
        As the compiled replay knows it.
    causal : bool
        Whether it knows nothing of later tokens.
    needs : str
        ``""``, ``"other documents"``, or ``"predictor"``.
    """

    name: str
    words: str
    code: int
    causal: bool = True
    needs: str = ""


#: Every policy. What exceeds the capacity is removed at the end of each event: the expert that is worth least among the
#: cached ones and those of the event; among equals, the one whose last use is longest ago, and among experts of one
#: event the one with the smallest id. `static` keeps what is pinned and nothing else. Like the others it has loaded
#: nothing in advance, so that no policy has more hits than `belady`.
POLICIES: tuple[Policy, ...] = (
    Policy("none", "no cache: every expert is loaded whenever a token needs it", 0),
    Policy(
        "static", "the experts that other documents use most, pinned from their first use on", 1,
        needs="other documents",
    ),
    Policy("lru", "the experts used last", 2),
    Policy("lfu", "the experts used most often so far", 3),
    Policy("lfu-decay", "the experts used most often lately: a use counts half after each half-life", 4),
    Policy("predictor", "the experts most probable at the next token", 5, needs="predictor"),
    Policy("belady", "the experts that are needed again first; unneeded ones are not kept (optimal)", 6, causal=False),
    Policy(
        "belady-forced", "the same, but the experts of an event are kept until the next event as far as they fit", 7,
        causal=False,
    ),
)  # fmt: skip


def policy_of(name: str) -> Policy:
    """Return a registered policy by its name."""
    return next(policy for policy in POLICIES if policy.name == name)


@dataclass(frozen=True, slots=True)
class CacheSetting:
    """One simulation.

    Attributes
    ----------
    policy : str
        Name of one of `POLICIES`.
    scope : str
        One of `SCOPES`.
    capacity : float
        Experts per layer; a pool has this many times the number of layers, rounded down.
    start : str
        One of `STARTS`.
    predictor : str
        Of the policy `predictor`, or of what is prefetched: a name of `routestat.forecast.catalogue`; empty without.
    lookahead : int
        Layers ahead for which experts are prefetched; 0: nothing is.
    candidates : int
        Experts per token that are prefetched unless they are in the cache.
    half_life : float
        Of ``lfu-decay``, in steps.
    """

    policy: str
    scope: str = "layer"
    capacity: float = 0.0
    start: str = "cold"
    predictor: str = ""
    lookahead: int = 0
    candidates: int = 0
    half_life: float = HALF_LIFE

    def slots(self, layers: int) -> int:
        """Return the slots of every layer's cache, or of the pool of so many layers."""
        return int(self.capacity * layers) if self.scope == "pool" else int(self.capacity)


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine, from which bytes and seconds are estimated.

    Experts come over one link, one after the other in the order of their requests; nothing is cancelled. An event
    begins when its routing is known: the experts that it lacks are requested, and then the prefetched ones of a later
    layer. It computes when the last expert that it needs is there, for `compute` seconds; the wait is the stall.

    Attributes
    ----------
    expert_bytes : float, optional
        Of one expert of one layer.
    bandwidth : float, optional
        Bytes per second.
    compute : float
        Seconds that a layer computes at every step.
    """

    expert_bytes: float | None = None
    bandwidth: float | None = None
    compute: float = 0.0

    @property
    def transfer_seconds(self) -> float | None:
        """Seconds for one expert; None where the machine is not known."""
        if self.expert_bytes is None or self.bandwidth is None:
            return None
        return self.expert_bytes / self.bandwidth
