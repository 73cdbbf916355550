"""Fast generators of grouped tables whose truth is known: tokens within a document depend on each other.

Under each null the source and the target are independent. Documents may prefer states, each side with distributions
drawn on their own (shared topics would be dependence), and tokens may repeat their predecessor, each side for itself.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

REPEAT = 0.6
# Dirichlet concentration of a document's distribution: two of its tokens agree in 1/21 of the cases beyond chance.
CONCENTRATION = 20.0


@dataclass(frozen=True)
class Null:
    """A way for tokens of one document to depend on each other."""

    name: str
    repeat: float = 0.0
    concentration: float | None = None


INDEPENDENT = Null("independent tokens")
STICKY = Null("sticky tokens", repeat=REPEAT)
DOCUMENTS = Null("document effects", concentration=CONCENTRATION)
BOTH = Null("both", repeat=0.4, concentration=CONCENTRATION)


def document_lengths(rng: np.random.Generator, documents: int, mean: int, kind: str) -> np.ndarray:
    """Tokens per document, all alike or exponential (geometric, so at least one)."""
    return np.full(documents, mean) if kind == "equal" else rng.geometric(1.0 / mean, documents)


def repeat_earlier(
    rng: np.random.Generator, chosen: np.ndarray, document: np.ndarray, repeat: float
) -> np.ndarray:
    """Each token takes over its predecessor's choice with probability `repeat`, within its document."""
    if not repeat:
        return chosen
    fresh = rng.random(len(document)) >= repeat
    fresh[0] = True
    fresh[1:] |= document[1:] != document[:-1]
    return chosen[np.maximum.accumulate(np.where(fresh, np.arange(len(document)), 0))]


def document_distributions(
    rng: np.random.Generator, documents: int, k: int, concentration: float | None
) -> np.ndarray:
    """Distributions `[document, state]` around one popularity, which is drawn first."""
    base = rng.dirichlet(np.full(k, 3.0))
    if concentration is None:
        return np.tile(base, (documents, 1))
    return rng.dirichlet(base * concentration, documents)


def states(rng: np.random.Generator, document: np.ndarray, k: int, null: Null) -> np.ndarray:
    """One state per token."""
    steps = document_distributions(rng, document[-1] + 1, k, null.concentration).cumsum(axis=1)
    # One sorted list for all documents: document d's steps lie between d and d + 1.
    place = np.searchsorted(
        (steps[:, :-1] + np.arange(len(steps))[:, None]).ravel(), document + rng.random(len(document))
    )
    return repeat_earlier(rng, place - document * (k - 1), document, null.repeat)


def state_tables(
    rng: np.random.Generator, k: int, lengths: np.ndarray, null: Null, coupling: float = 0.0
) -> np.ndarray:
    """Tables `[document, source, target]`; with `coupling` above zero that share of targets copies the source."""
    document = np.repeat(np.arange(len(lengths)), lengths)
    source, target = (states(rng, document, k, null) for _ in range(2))
    if coupling:
        target = np.where(rng.random(len(target)) < coupling, source, target)
    cells = (document * k + source) * k + target
    return np.bincount(cells, minlength=len(lengths) * k * k).reshape(len(lengths), k, k)


def inclusions(rng: np.random.Generator, document: np.ndarray, k: int, top: int, null: Null) -> np.ndarray:
    """Which `top` of k experts each token takes, `[token, expert]`: a race of exponential times by weight."""
    weights = document_distributions(rng, document[-1] + 1, k, null.concentration and 3 * null.concentration)
    speed = np.maximum(weights, 1e-30).astype(np.float32)[document]
    times = rng.standard_exponential((len(document), k), dtype=np.float32) / speed
    chosen = repeat_earlier(rng, np.argpartition(times, top - 1, axis=1)[:, :top], document, null.repeat)
    taken = np.zeros((len(document), k), dtype=np.float32)
    np.put_along_axis(taken, chosen, 1.0, axis=1)
    return taken


def expert_tables(
    rng: np.random.Generator, k: int, top: int, lengths: np.ndarray, null: Null, coupling: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `independence_experts` takes: tables, inclusions at both ends, tokens."""
    document = np.repeat(np.arange(len(lengths)), lengths)
    x, y = (inclusions(rng, document, k, top, null) for _ in range(2))
    same = rng.random(len(document)) < coupling
    y[same] = x[same]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tables = np.array([x[a:b].T @ y[a:b] for a, b in pairwise(starts)])
    return tables, np.add.reduceat(x, starts[:-1]), np.add.reduceat(y, starts[:-1]), lengths


@dataclass(frozen=True)
class Coupled:
    """A channel from source to target with exactly known information, seen through dependent documents.

    Documents draw their own source distribution and their own channel around fixed means, independently of each other,
    so the population's joint distribution is the product of the means. Fresh pairs count a geometric number of times.
    """

    base: np.ndarray
    channel: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, k: int, strength: float = 0.4) -> "Coupled":
        """A channel that forgets the source with probability 1 - strength."""
        base, blind = rng.dirichlet(np.full(k, 8.0), 2)
        return cls(base, (1.0 - strength) * blind + strength * rng.dirichlet(np.full(k, 0.5), k))

    @property
    def pointwise_bits(self) -> np.ndarray:
        """log2 of joint over product, `[source, target]`."""
        joint = self.base[:, None] * self.channel
        return np.log2(joint / np.outer(self.base, joint.sum(axis=0)))

    @property
    def mi_bits(self) -> float:
        """Of the population."""
        return float((self.base[:, None] * self.channel * self.pointwise_bits).sum())

    def luck(self, tables: np.ndarray) -> float:
        """The sample's mean of the true pointwise information less the population's, in bits.

        Its mean is zero exactly, and most of an estimate's error is this: without it a small bias shows.
        """
        return float((tables.sum(axis=0) * self.pointwise_bits).sum() / tables.sum()) - self.mi_bits

    def tables(self, rng: np.random.Generator, lengths: np.ndarray, repeat: float = 0.4) -> np.ndarray:
        """Tables `[document, source, target]` of about `lengths` tokens."""
        k = len(self.base)
        fresh = np.maximum(1, np.rint(lengths * (1.0 - repeat)).astype(int))
        sources = rng.multinomial(fresh, rng.dirichlet(self.base * CONCENTRATION, len(lengths)))
        channels = rng.standard_gamma(np.broadcast_to(2 * CONCENTRATION * self.channel, (len(lengths), k, k)))
        pairs = rng.multinomial(sources, channels / channels.sum(axis=2, keepdims=True))
        return pairs + rng.negative_binomial(np.maximum(pairs, 1), 1.0 - repeat) * (pairs > 0)
