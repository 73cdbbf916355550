"""Coverage of the intervals of simulated caches: how often they hold what a very long replay finds.

Documents prefer experts of their own around one popularity, their tokens repeat each other, and a token that is at a
layer with some experts has the same ones at the next layer with a probability. The cache is kept from document to
document and empty before the first one. The experts of a layer are prefetched for the next one, a prediction that is
right in a known share of the cases. The population is the same in all runs, its true values are those of a replay of
documents of its own; of pins, that of the pins of the run. A 95 % interval should hold them in 91 to 98 % of the runs.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from routestat.forecast.kept_predictions import KeptPredictions
from routestat.inference.base.estimate import Estimate
from routestat.serving.cache_estimates import simulated_cache
from routestat.serving.pins import pinned_experts
from routestat.serving.replay import replay
from routestat.serving.settings import CacheSetting, Hardware
from routestat.serving.steps import Steps
from tests.calibration.forms import error, forms, within
from tests.calibration.nulls import document_lengths, repeat_earlier
from tests.serving.served_steps import steps_of, trace_of

EXPERTS, TOP, LAYERS, CAPACITY, MEAN_LENGTH = 16, 2, 2, 5, 40
MACHINE = Hardware(expert_bytes=1.0, bandwidth=1.0, compute=0.5)
#: Documents of the long replay, and in the short form.
MANY, FEWER = 20_000, 5_000


@dataclass(frozen=True)
class Population:
    """Documents that differ, and tokens that repeat."""

    popularity: np.ndarray  # [layer, expert]
    concentration: float = 20.0
    repeat: float = 0.4
    copied: float = 0.5

    def draw(self, rng: np.random.Generator, lengths: np.ndarray) -> np.ndarray:
        """Choices ``[token, layer, slot]``."""
        document = np.repeat(np.arange(len(lengths)), lengths)
        layers = []
        for base in self.popularity:
            own = rng.standard_gamma(self.concentration * base, (len(lengths), EXPERTS)).astype(np.float32)
            times = rng.standard_exponential((len(document), EXPERTS), np.float32) / (own + 1e-30)[document]
            fresh = np.argpartition(times, TOP - 1, axis=1)[:, :TOP]
            layers.append(np.sort(repeat_earlier(rng, fresh, document, self.repeat), axis=1))
        same = rng.random(len(document)) < self.copied
        layers[1][same] = layers[0][same]
        return np.stack(layers, axis=1)


POPULATION = Population(np.random.default_rng(1).dirichlet(np.full(EXPERTS, 1.5), LAYERS))


def cache_figures(steps: Steps) -> dict[str, Estimate]:
    """Estimates of several policies, and of prefetching the experts of the layer before."""
    found = {}
    for name in ("lru", "lfu", "static", "belady"):
        setting = CacheSetting(name, capacity=CAPACITY)
        pinned = pinned_experts(steps, "layer", CAPACITY) if name == "static" else None
        cache = simulated_cache(replay(steps, setting, pinned=pinned), steps, setting, Hardware())
        found[f"{name}, hit rate"] = cache.hit_rate
    setting = CacheSetting("lru", capacity=CAPACITY, lookahead=1, candidates=TOP)
    experts = np.full((len(steps.row), LAYERS, TOP), -1, np.int16)
    experts[steps.row, 1] = steps.choices[:, 0]
    predicted = KeptPredictions("same", 1, experts, np.ones(experts.shape, np.float16), 1.0)
    cache = simulated_cache(
        replay(steps, setting, prefetch=predicted, hardware=MACHINE), steps, setting, MACHINE
    )
    found["prefetch, precision on non-resident experts"] = cache.precision
    found["prefetch, recall on non-resident experts"] = cache.recall
    found["prefetch, miss share"] = cache.miss_share
    found["prefetch, stall per token"] = cache.stall_per_token
    return found


def drawn_steps(rng: np.random.Generator, n_documents: int, kind: str, batch: int) -> Steps:
    lengths = document_lengths(rng, n_documents, MEAN_LENGTH, kind)
    return steps_of(trace_of(lengths, POPULATION.draw(rng, lengths), EXPERTS), batch=batch)


def needed_by_events(steps: Steps) -> np.ndarray:
    """How many events need each expert ``[expert of all layers]``."""
    step = np.repeat(np.arange(len(steps)), np.diff(steps.start))
    event = (step[:, None, None] * LAYERS + np.arange(LAYERS)[:, None]) * EXPERTS + steps.choices
    return np.bincount(np.unique(event) % (LAYERS * EXPERTS), minlength=LAYERS * EXPERTS)


def hit_rate_of_pins(steps: Steps, needed: np.ndarray) -> float:
    """Of the pins of these steps where so many events need each expert."""
    rates = pinned_experts(steps, "layer", CAPACITY) @ needed / needed.sum()
    weights = replay(steps, CacheSetting("none")).column("accesses").sum(axis=(1, 2))
    return float(np.average(rates, weights=weights))


def case(n_documents: int, kind: str, batch: int, short: int, long: int = 1000) -> list:
    name = f"{n_documents}-{kind}" + (f"-batch-{batch}" if batch > 1 else "")
    both = forms(n_documents, kind, batch, short=short, long=long, name=name)
    return both if short else both[1:]


@pytest.mark.parametrize(
    ("n_documents", "kind", "batch", "runs"),
    [
        *case(20, "equal", 1, short=0),
        *case(20, "exponential", 1, short=60),
        *case(60, "equal", 1, short=60),
        *case(60, "exponential", 1, short=0),
        *case(200, "equal", 1, short=0),
        *case(200, "exponential", 1, short=0),
        *case(60, "equal", 4, short=0),
        *case(200, "exponential", 4, short=0),
    ],
)
def test_cache(n_documents: int, kind: str, batch: int, runs: int, found: list[str]) -> None:
    rng = np.random.default_rng([1, n_documents, kind == "equal", batch])
    long = drawn_steps(rng, MANY if runs >= 1000 else FEWER, kind, batch)
    truth, needed = {name: one.value for name, one in cache_figures(long).items()}, needed_by_events(long)
    found_values, true_values, held, above = ({name: [] for name in truth} for _ in range(4))
    for _ in range(runs):
        steps = drawn_steps(rng, n_documents, kind, batch)
        truth["static, hit rate"] = hit_rate_of_pins(steps, needed)
        for name, one in cache_figures(steps).items():
            found_values[name].append(one.value)
            true_values[name].append(truth[name])
            held[name].append(one.low <= truth[name] <= one.high)
            above[name].append(one.low > truth[name])
    batched = f", batch {batch}" if batch > 1 else ""
    for name in truth:
        rate = float(np.mean(held[name]))
        found.append(
            f"{name:43}, {n_documents:3} {kind:11} documents{batched}: true {np.mean(true_values[name]):.4f}, mean "
            f"{np.mean(found_values[name]):.4f}, held {rate:.3f} ± {error(rate, runs):.3f}, too high "
            f"{np.mean(above[name]):.3f} ({runs} runs)"
        )
    for name in truth:
        assert within(float(np.mean(held[name])), runs, 0.92, 0.98), name
