"""Coverage of the intervals of what a placement gains on documents that it was not made from.

Every third document is held out, as `place` does. The true gain is that of the placement of the run on all documents
that there could be.

Balance: documents use experts by distributions of their own around one popularity, drawn for every run; the load of
devices is nearly equal after placing, and before it where the popularity is. The truth is exact. The interval is made
for values that lie between two estimated ones, so that it may hold the true gain in up to all of the runs.

Affinity: without communities the layers are independent, so that with equal popularity nothing can be gained. With
communities a share of the tokens stays in a group of experts from layer to layer. The truth is that of very many
documents.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from routestat.inference.base.estimate import Estimate
from routestat.serving.placement.affine import affine_placement
from routestat.serving.placement.balanced import balanced_placement
from routestat.serving.placement.default_order import default_placement
from routestat.serving.placement.measures import device_loads, imbalance
from routestat.serving.placement.placement import Devices, Placement
from routestat.study.placement_findings import Optimality, PlacementGain
from routestat.study.placement_gains import HeldOutUnits, measured, staying_sums
from routestat.traces.metadata import routers_like
from tests.calibration.forms import error, forms, within
from tests.calibration.nulls import document_lengths

#: Documents that true affinities are measured on.
MANY = 20_000
PARTS = ("gain", "before", "after")


class Tally:
    """How often intervals held the truth."""

    def __init__(self) -> None:
        self.held, self.above, self.errors, self.widths = [], [], [], []

    def add(self, one: Estimate, true: float) -> None:
        self.held.append(one.low - 1e-12 <= true <= one.high + 1e-12)
        self.above.append(one.low > true)
        self.errors.append(one.value - true)
        self.widths.append(one.high - one.low)

    @property
    def rate(self) -> float:
        return float(np.mean(self.held))

    def words(self) -> str:
        runs = len(self.held)
        return (
            f"held {self.rate:.3f} ± {error(self.rate, runs):.3f}, too high {np.mean(self.above):.3f}, bias "
            f"{np.mean(self.errors):+.4f}, width {np.mean(self.widths):.4f} ({runs} runs)"
        )


def balance_run(
    rng: np.random.Generator, shape: tuple[int, int, int, int], equal: float, kind: str, effect: float
) -> tuple[PlacementGain, dict[str, float]]:
    """A placement for balance, and its true figures."""
    n_units, n_layers, n_experts, n_devices = shape
    routers, devices = routers_like(range(n_layers), n_experts, 2), Devices(n_devices)
    popularity = np.full((n_layers, n_experts), 1 / n_experts)
    if np.isfinite(equal):
        popularity = rng.dirichlet(np.full(n_experts, equal), n_layers)
    own = rng.standard_gamma(effect * n_experts * popularity, (3 * n_units, n_layers, n_experts)) + 1e-30
    lengths = np.repeat(document_lengths(rng, 3 * n_units, 200, kind), n_layers)
    counts = rng.multinomial(lengths, (own / own.sum(axis=-1, keepdims=True)).reshape(-1, n_experts))
    counts = counts.reshape(own.shape)
    held = np.arange(3 * n_units) % 3 == 0
    placement = balanced_placement(list(counts[~held].sum(axis=0)), routers, devices)
    default = default_placement(routers, devices)

    def units(own: np.ndarray) -> HeldOutUnits:
        n, loads = len(own), [own[:, layer] for layer in range(n_layers)]
        stay = np.zeros((2, 2, n, n_layers - 1))
        return HeldOutUnits(loads, own[:, 0].sum(axis=1), np.ones((n, n_layers - 1)), stay)

    found = measured(
        default, placement, 1, units(counts[held]), units(counts[~held].sum(axis=0)[None]), Optimality()
    )
    before, after = (
        np.mean([imbalance(device_loads(own, one, layer)) for layer, own in enumerate(popularity)])
        for one in (default, placement)
    )
    return found.balance, {"gain": before - after, "before": before, "after": after}


#: Units held out, layers, experts, devices; concentration of the popularity (infinite: equal), lengths of documents,
#: concentration of documents around the popularity.
BALANCE = {
    "4 devices, 12 units": ((12, 8, 32, 4), 5.0, "equal", 1.0),
    "4 devices, 40 units": ((40, 8, 32, 4), 5.0, "equal", 1.0),
    "4 devices, 100 units": ((100, 8, 32, 4), 5.0, "equal", 1.0),
    "8 devices, unequal documents, 12 units": ((12, 8, 64, 8), 5.0, "exponential", 1.0),
    "8 devices, unequal documents, 40 units": ((40, 8, 64, 8), 5.0, "exponential", 1.0),
    "8 devices, unequal documents, 100 units": ((100, 8, 64, 8), 5.0, "exponential", 1.0),
    "8 devices, one layer, 12 units": ((12, 1, 64, 8), 5.0, "exponential", 1.0),
    "8 devices, one layer, 40 units": ((40, 1, 64, 8), 5.0, "exponential", 1.0),
    "8 devices, one layer, 100 units": ((100, 1, 64, 8), 5.0, "exponential", 1.0),
    "16 devices, nearly equal, 12 units": ((12, 8, 64, 16), 50.0, "equal", 1.0),
    "16 devices, nearly equal, 40 units": ((40, 8, 64, 16), 50.0, "equal", 1.0),
    "16 devices, nearly equal, 100 units": ((100, 8, 64, 16), 50.0, "equal", 1.0),
    "8 devices, equal, 12 units": ((12, 8, 64, 8), np.inf, "equal", 1.0),
    "8 devices, equal, 40 units": ((40, 8, 64, 8), np.inf, "equal", 1.0),
    "8 devices, similar documents, 32 layers, 40 units": ((40, 32, 64, 8), 5.0, "equal", 5.0),
    "8 devices, equal, 32 layers, 40 units": ((40, 32, 64, 8), np.inf, "equal", 1.0),
    "2 devices, very unequal, 40 units": ((40, 4, 16, 2), 0.5, "equal", 5.0),
}
SHORT = {"4 devices, 40 units": 100, "8 devices, equal, 12 units": 60}


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        one
        for name in BALANCE
        for one in forms(name, short=SHORT.get(name, 0), long=500, name=name.replace(", ", "-"))
        if one.values[1]
    ],
)
def test_balance(name: str, runs: int, found: list[str]) -> None:
    rng = np.random.default_rng([1, list(BALANCE).index(name)])
    tallies = {part: Tally() for part in PARTS}
    for _ in range(runs):
        gain, true = balance_run(rng, *BALANCE[name])
        if np.isnan(gain.gain.low):
            # Very unequal documents allow no interval.
            continue
        for part, tally in tallies.items():
            tally.add(getattr(gain, part), true[part])
    for part, tally in tallies.items():
        found.append(f"balance, {name} held out, {part}: {tally.words()}")
    for part, tally in tallies.items():
        assert within(tally.rate, len(tally.held), 0.94, 1.0), part


@dataclass(frozen=True)
class Communities:
    """Tokens of which a share stays in a group of experts."""

    inside: float
    equal: bool
    layers: int = 3
    experts: int = 16
    groups: int = 4
    concentration: float = 30.0

    @property
    def routers(self) -> tuple:
        return routers_like(range(self.layers), self.experts, 2)

    def tables(self, rng: np.random.Generator, lengths: np.ndarray) -> tuple[list, list]:
        """Loads ``[document, expert]`` of every layer, and tables ``[document, expert, expert]`` of every pair."""
        fixed = np.random.default_rng(7)
        group = fixed.permuted(np.tile(np.arange(self.experts) % self.groups, (self.layers, 1)), axis=1)
        base = np.full((self.layers, self.experts), 1 / self.experts)
        if not self.equal:
            base = fixed.dirichlet(np.full(self.experts, 3.0), self.layers)
        document = np.repeat(np.arange(len(lengths)), lengths)
        own_group = rng.integers(0, self.groups, len(document))
        stays = rng.random(len(document)) < self.inside
        chosen = []
        for layer in range(self.layers):
            weight = rng.standard_gamma(self.concentration * base[layer], (len(lengths), self.experts)) + 1e-9
            times = rng.standard_exponential((len(document), self.experts)) / weight[document]
            times[stays[:, None] & (group[layer] != own_group[:, None])] += 1e12
            chosen.append(np.argpartition(times, 1, axis=1)[:, :2])
        shape = (len(lengths), self.experts)
        loads = [_counted(document[:, None] * self.experts + one, shape) for one in chosen]
        pairs = [
            _counted(
                (document[:, None, None] * self.experts + a[:, :, None]) * self.experts + b[:, None, :],
                (*shape, self.experts),
            )
            for a, b in pairwise(chosen)
        ]
        return loads, pairs

    @cache  # noqa: B019 - a few in all
    def true_tables(self) -> list:
        """Tables ``[expert, expert]`` of very many documents."""
        rng, total = np.random.default_rng(8), 0
        for _ in range(20):
            _, pairs = self.tables(rng, np.full(MANY // 20, 40))
            total = total + np.stack([one.sum(axis=0) for one in pairs])
        return list(total)


def _counted(cell: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.bincount(cell.ravel(), minlength=int(np.prod(shape))).reshape(shape)


def affinity_run(
    rng: np.random.Generator, population: Communities, n_units: int, kind: str
) -> tuple[PlacementGain, dict[str, float]]:
    """A placement for affinity, and its true figures."""
    routers, devices = population.routers, Devices(4)
    lengths = document_lengths(rng, 3 * n_units, 40, kind)
    loads, tables = population.tables(rng, lengths)
    held = np.arange(3 * n_units) % 3 == 0
    own_tables = [one[~held].sum(axis=0) for one in tables]
    both = (default_placement(routers, devices), affine_placement(own_tables, routers, devices, rng))

    def units(loads: list, tables: list, tokens: np.ndarray) -> HeldOutUnits:
        return HeldOutUnits(loads, tokens, *staying_sums(tables, both, len(tokens)))

    held_out = units([one[held] for one in loads], [one[held] for one in tables], lengths[held])
    made_from = units(
        [one[~held].sum(axis=0)[None] for one in loads],
        [one[None] for one in own_tables],
        lengths[~held].sum()[None],
    )
    found = measured(*both, 1, held_out, made_from, Optimality())
    before, after = (_staying(one, population) for one in both)
    return found.device_affinity, {"gain": after - before, "before": before, "after": after}


def _staying(placement: Placement, population: Communities) -> float:
    pairs, stay = staying_sums([one[None] for one in population.true_tables()], [placement], 1)
    return float(stay[0, 0].sum() / pairs.sum())


POPULATIONS = {
    "independent layers": Communities(0.0, equal=True),
    "independent layers, unequal experts": Communities(0.0, equal=False),
    "communities": Communities(0.3, equal=False),
}


@pytest.mark.parametrize(
    ("name", "n_units", "kind", "runs"),
    [
        one
        for name, short in (("independent layers", 60), ("independent layers, unequal experts", 0), ("communities", 60))
        for n_units in (8, 20, 66)
        for kind in ("equal", "exponential")
        for one in forms(
            name, n_units, kind, short=short if (n_units, kind) == (20, "equal") else 0, long=500,
            name=f"{name.replace(', ', '-')}-{n_units}-{kind}",
        )
        if one.values[3]
    ],
)  # fmt: skip
def test_affinity(name: str, n_units: int, kind: str, runs: int, found: list[str]) -> None:
    population = POPULATIONS[name]
    rng = np.random.default_rng([2, list(POPULATIONS).index(name), n_units, kind == "equal"])
    tallies, none = {part: Tally() for part in PARTS}, 0
    for _ in range(runs):
        gain, true = affinity_run(rng, population, n_units, kind)
        if np.isnan(gain.gain.low):
            # Very unequal documents allow no interval.
            continue
        none += gain.gain.low <= 0 <= gain.gain.high
        for part, tally in tallies.items():
            tally.add(getattr(gain, part), true[part])
    n = len(tallies["gain"].held)
    for part, tally in tallies.items():
        found.append(f"affinity, {name}, {n_units} {kind} units held out, {part}: {tally.words()}")
    found.append(f"affinity, {name}, {n_units} {kind} units held out, gain includes 0: {none / n:.3f}")
    if name == "independent layers":
        assert within(none / n, n, 0.93, 1.0)
    if name == "communities":
        assert none / n < 0.2
    for part, tally in tallies.items():
        assert within(tally.rate, n, 0.92, 0.985), part
