"""The fitted chain as a file: plain arrays in .npz, checked whole when they are read.

Version 3 holds orders, steps of order 2, design effects, transitions between layers that are not adjacent and, in the
expert view, the factorised chain. Versions 2, without those transitions, and 1, a chain of order 1, are read too.
Nothing is unpickled, and nothing is unpacked before its size is known to be right.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from routestat.errors import RoutestatError
from routestat.forecast.factorised import FactorisedChain
from routestat.inference.base.tables import read_only
from routestat.inference.markov.chain import Chain
from routestat.inference.markov.direct_steps import MOST_DIRECT_CELLS, DirectStep
from routestat.inference.markov.second_order import MOST_CELLS, SecondOrderStep
from routestat.inference.smoothing.backoff_strength import BackoffParameters
from routestat.inference.smoothing.prior import parse_alpha, positive_alpha
from routestat.study.array_file import Arrays, opened_arrays, write_arrays
from routestat.traces.metadata import Router

CHAIN_FILE = "chain.npz"
CHAIN_VERSION = 3
WHAT = "a chain that analyze saved"
# More states than this are never tabulated against each other.
MOST_STATES = 1 << 14
_FACTORISED = "factorised_fold_tokens"
_MODEL = re.compile(r"factorised_bias_(\d{3,5})_(\d{1,3})")


def save_chain(chain: Chain, path: str | Path, factorised: FactorisedChain | None = None) -> None:
    """Write a fitted chain; readers see the old file or the new one, never a part.

    Parameters
    ----------
    chain : Chain
    path : str or path
        An .npz file.
    factorised : FactorisedChain, optional
        That of the expert view, to lie beside it.
    """
    arrays: dict[str, Any] = {
        "version": np.array(CHAIN_VERSION),
        "states": np.array(chain.states),
        "alpha": np.array(str(chain.alpha)),
        "layers": np.array(chain.layers, np.int64),
        "n_experts": np.array(chain.n_experts, np.int64),
        "top_k": np.array(chain.top_k, np.int64),
        "orders": np.array(chain.orders, np.int64),
        "design_effects": np.array(chain.design_effects, np.float64),
        "first": chain.first,
        "prior_first": chain.priors[0],
    }
    for gap, (table, prior, step) in enumerate(
        zip(chain.counts, chain.priors[1:], chain.second, strict=True)
    ):
        arrays[f"counts_{gap:03d}"], arrays[f"prior_{gap:03d}"] = table, prior
        if step is None:
            continue
        for name in ("contexts", "starts", "targets", "counts", "base"):
            arrays[f"second_{gap:03d}_{name}"] = getattr(step, name)
        arrays[f"second_{gap:03d}_fitted"] = np.array([step.fitted.strength, step.fitted.discount])
    if chain.direct:
        arrays["direct_places"] = np.array(list(chain.direct), np.int64)
        arrays["direct_effects"] = np.array(
            [step.design_effect for step in chain.direct.values()], np.float64
        )
    for (start, end), further in chain.direct.items():
        # Eight bytes a cell take twice the time to deflate.
        fits = further.counts.max(initial=0) < 1 << 32
        of = f"direct_{start:03d}_{end:03d}"
        arrays[f"{of}_counts"] = further.counts.astype(np.uint32) if fits else further.counts
        arrays[f"{of}_prior"] = further.prior
    if factorised is not None:
        arrays[_FACTORISED] = factorised.fold_tokens
        for (place, order), bias in factorised.bias.items():
            arrays[f"factorised_bias_{place:03d}_{order}"] = bias
            arrays[f"factorised_weights_{place:03d}_{order}"] = factorised.weights[place, order]
    write_arrays(Path(path), arrays)


def load_chain(path: str | Path) -> Chain:
    """Read a chain that `save_chain` wrote; never runs code from the file.

    Parameters
    ----------
    path : str or path
        The file, or the folder of a report, which holds one.

    Raises
    ------
    RoutestatError
        If the file is no chain, is damaged, or is of another version; says what is wrong with it.
    """
    given, inside = Path(path), Path(path) / CHAIN_FILE
    with opened_arrays(inside if inside.is_file() else given, WHAT) as file:
        return _chain(file)


def load_factorised(path: Path) -> FactorisedChain | None:
    """Read the factorised chain of the file, None if it has none; raises as `load_chain` does."""
    with opened_arrays(path, WHAT) as file:
        return _factorised(file) if file.has(_FACTORISED) else None


def _chain(file: Arrays) -> Chain:
    version = int(file.read("version", "iu", ()))
    if version not in range(1, CHAIN_VERSION + 1):
        raise RoutestatError(f"chain version {version}, this routestat reads 1 to {CHAIN_VERSION}")
    states = str(file.read("states", "U", ()))
    routers, widths = _routers(file, states)
    gaps = len(routers) - 1
    orders, effects = (1,) * gaps, (1.0,) * gaps
    if version > 1:
        orders = tuple(file.whole("orders", (gaps,)).tolist())
        effects = tuple(file.reals("design_effects", (gaps,), 1.0).tolist())
    if not all(order <= (2 if states == "subset" else 1) for order in orders):
        raise RoutestatError(f"orders: expected 0 to 2, 2 only where states are subsets, got {orders}")
    second = tuple(_second(file, gap, widths) if states == "subset" else None for gap in range(gaps))
    unbacked = [gap for gap in range(gaps) if orders[gap] == 2 and second[gap] is None]
    if unbacked:
        raise RoutestatError(
            f"gap {unbacked[0]} is of order 2, but second_{unbacked[0]:03d}_contexts is missing"
        )
    alpha = parse_alpha(str(file.read("alpha", "U", ())))
    names = ["first", *(f"{gap:03d}" for gap in range(gaps))]
    priors = [
        read_only(positive_alpha(file.reals(f"prior_{name}", (width,), 0.0), (width,)).copy())
        for name, width in zip(names, widths, strict=True)
    ]
    return Chain(
        states=states,
        layers=tuple(router.layer for router in routers),
        n_experts=tuple(router.n_experts for router in routers),
        top_k=tuple(router.top_k for router in routers),
        first=file.whole("first", (widths[0],)),
        counts=tuple(file.whole(f"counts_{gap:03d}", (widths[gap], widths[gap + 1])) for gap in range(gaps)),
        alpha=alpha,
        priors=tuple(priors),
        second=second,
        orders=orders,
        design_effects=effects,
        direct=_direct(file, widths) if states == "subset" else {},
    )


def _direct(file: Arrays, widths: list[int]) -> dict[tuple[int, int], DirectStep]:
    """Read and check the transitions between layers that are not adjacent."""
    if not file.has("direct_places"):
        return {}
    places = [tuple(pair) for pair in file.whole("direct_places", (None, 2), 1 << 20).tolist()]
    if len(set(places)) < len(places) or not all(a + 1 < b < len(widths) for a, b in places):
        raise RoutestatError(
            f"direct_places: expected pairs of {len(widths)} layers that are not adjacent, each once"
        )
    if sum(widths[start] * widths[end] for start, end in places) > MOST_DIRECT_CELLS:
        raise RoutestatError(f"direct_places: tables of more than {MOST_DIRECT_CELLS:,} cells together")
    effects = file.reals("direct_effects", (len(places),), 1.0).tolist()
    found = {}
    for (start, end), effect in zip(places, effects, strict=True):
        of, width = f"direct_{start:03d}_{end:03d}", widths[end]
        prior = positive_alpha(file.reals(f"{of}_prior", (width,), 0.0), (width,)).copy()
        found[start, end] = DirectStep(
            file.whole(f"{of}_counts", (widths[start], width)), read_only(prior), effect
        )
    return found


def _routers(file: Arrays, states: str) -> tuple[list[Router], list[int]]:
    """Read and check the routers, and the number of states (or experts) of each."""
    if states not in ("subset", "expert"):
        raise RoutestatError(f"states: expected subset or expert, got {states!r}")
    layers = file.whole("layers", (None,), 1 << 16)
    sizes = [file.whole(name, (len(layers),)) for name in ("n_experts", "top_k")]
    if not len(layers) or (np.diff(layers) < 0).any():
        raise RoutestatError("layers: expected one or more in the order of depth")
    routers = [Router(*row) for row in zip(layers.tolist(), *(s.tolist() for s in sizes), strict=True)]
    widths = [r.alphabet.size if states == "subset" else r.n_experts for r in routers]
    if states == "subset" and max(widths) > MOST_STATES:
        raise RoutestatError(f"a layer of {max(widths):,} states, tables of states end at {MOST_STATES:,}")
    return routers, widths


def _second(file: Arrays, gap: int, widths: list[int]) -> SecondOrderStep | None:
    """Read and check the step of order 2 of a gap; None if there is none."""
    of = f"second_{gap:03d}"
    if not file.has(f"{of}_contexts"):
        return None
    if not gap or widths[gap - 1] * widths[gap] * widths[gap + 1] > MOST_CELLS:
        raise RoutestatError(f"{of}: gap {gap} cannot have a step of order 2")
    befores, sources, n_targets = widths[gap - 1 : gap + 2]
    contexts = file.whole(f"{of}_contexts", (None,), MOST_CELLS)
    starts = file.whole(f"{of}_starts", (len(contexts) + 1,))
    targets = file.whole(f"{of}_targets", (None,), MOST_CELLS)
    cells = file.whole(f"{of}_counts", (len(targets),))
    base = file.reals(f"{of}_base", (sources, n_targets), np.nextafter(0, 1), 1.0)
    strength, discount = file.reals(f"{of}_fitted", (2,), 0.0).tolist()
    rising = np.diff(contexts) > 0
    if not rising.all() or (len(contexts) and contexts[-1] >= befores * sources):
        raise RoutestatError(f"{of}_contexts: expected rising ones below {befores * sources}")
    if starts[0] != 0 or starts[-1] != len(targets) or not (np.diff(starts) > 0).all():
        raise RoutestatError(f"{of}_starts: expected rising places from 0 to {len(targets)}")
    keys = np.repeat(np.arange(len(contexts)), np.diff(starts)) * n_targets + targets
    if len(targets) and (targets.max() >= n_targets or not (np.diff(keys) > 0).all() or not cells.all()):
        raise RoutestatError(
            f"{of}_targets: expected each below {n_targets} and once a context, with a token"
        )
    if not np.allclose(base.sum(axis=1), 1.0, atol=1e-6) or strength <= 0 or discount >= 1:
        raise RoutestatError(
            f"{of}: its base is not a distribution, or {strength:g} and {discount:g} no back-off"
        )
    return SecondOrderStep(
        contexts, starts, targets, cells, base, BackoffParameters(strength, discount), befores
    )


def _factorised(file: Arrays) -> FactorisedChain:
    routers, widths = _routers(file, str(file.read("states", "U", ())))
    if str(file.read("states", "U", ())) != "expert":
        raise RoutestatError(
            f"{_FACTORISED}: factorised chains are over experts, this one's states are subsets"
        )
    folds = file.whole(_FACTORISED, (None,), 1 << 16)
    bias, weights = {}, {}
    for name in file.names:
        found = _MODEL.fullmatch(name)
        if not found:
            continue
        place, order = int(found[1]), int(found[2])
        if place >= len(routers) or order > place:
            raise RoutestatError(f"{name}: no such layer, or fewer layers before it than that")
        width, features = widths[place], sum(widths[place - order : place])
        reach = float(np.finfo(np.float32).max)
        bias[place, order] = file.reals(name, (1 + len(folds), width), -reach, reach)
        of = f"factorised_weights_{place:03d}_{order}"
        weights[place, order] = file.reals(of, (1 + len(folds), features, width), -reach, reach)
    return FactorisedChain(
        tuple(router.layer for router in routers),
        tuple(router.n_experts for router in routers),
        tuple(router.top_k for router in routers),
        bias,
        weights,
        folds,
    )
