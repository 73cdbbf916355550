"""The ridges of a trace as a file beside the chain: pairs of features as plain arrays in .npz.

Of each window of layers the file holds the upper half of the pairs, as the narrowest unsigned numbers that hold them:
n² bytes with n features and up to 65,535 tokens (11 MB for the 26 layers of 64 experts of DeepSeek-V2-Lite).
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.forecast import catalogue
from routestat.forecast.history import previous
from routestat.forecast.history_predictor import MOST_PAIRS, HistoryPredictors, HistoryWindow, RidgeSetting
from routestat.forecast.ridge_plan import Window
from routestat.forecast.specification import RidgeForm
from routestat.inference.base.tables import read_only
from routestat.study.array_file import Arrays, opened_arrays, write_arrays
from routestat.traces.alphabet import smallest_unsigned
from routestat.traces.metadata import Router

PREDICTORS_FILE = "predictors.npz"
PREDICTORS_VERSION = 1
_WHAT = "a file of predictors that analyze saved"


def save_predictors(predictors: HistoryPredictors, path: Path) -> None:
    """Write the ridges; readers see the old file or the new one, never a part."""
    arrays: dict[str, NDArray[Any]] = {
        "predictors_version": np.array(PREDICTORS_VERSION),
        "states": np.array(predictors.states),
        "windows": np.array([(w.window.first, w.window.stop, w.window.targets) for w in predictors.windows]),
        "names": np.array(predictors.names),
    }
    for name in ("layer", "n_experts", "top_k"):
        arrays[name] = np.array([getattr(router, name) for router in predictors.routers], np.int64)
    arrays["router_names"] = np.array([router.name for router in predictors.routers])
    for at, window in enumerate(predictors.windows):
        of = f"window_{at:03d}"
        arrays[f"{of}_blocks"], arrays[f"{of}_sizes"] = (
            np.array(window.names),
            np.array(window.sizes, np.int64),
        )
        narrow = smallest_unsigned(int(window.pairs.max(initial=0)) + 1)
        arrays[f"{of}_pairs"] = window.pairs.astype(narrow)[np.triu_indices(len(window.pairs))]
        arrays[f"{of}_token_ids"], arrays[f"{of}_token_features"] = window.token_ids, window.token_features
        models = sorted(window.settings)
        places = [(predictors.names.index(name), target) for name, target in models]
        arrays[f"{of}_models"] = np.array(places, np.int64)
        chosen = [window.settings[model] for model in models]
        arrays[f"{of}_settings"] = np.array([(one.penalty, one.power, one.softness) for one in chosen])
    write_arrays(path, arrays, stored=[name for name in arrays if name.endswith("_pairs")])


def load_predictors(path: Path) -> HistoryPredictors:
    """Read the ridges that `save_predictors` wrote; never runs code from the file.

    Raises
    ------
    RoutestatError
        If the file is something else, is damaged, or is of another version; says what is wrong with it.
    """
    with opened_arrays(path, _WHAT) as file:
        version = int(file.read("predictors_version", "iu", ()))
        if version != PREDICTORS_VERSION:
            raise RoutestatError(f"version {version}, this routestat reads {PREDICTORS_VERSION}")
        states = str(file.read("states", "U", ()))
        if states not in ("subset", "expert"):
            raise RoutestatError(f"states: expected subset or expert, got {states!r}")
        layers = file.whole("layer", (None,), 1 << 16)
        sizes = [file.whole(name, (len(layers),)).tolist() for name in ("n_experts", "top_k")]
        columns = _words(file, "router_names")
        routers = [Router(*row) for row in zip(layers.tolist(), *sizes, columns, strict=True)]
        names = _words(file, "names")
        known = {spec.name for spec in catalogue.PREDICTORS if isinstance(spec.form(states), RidgeForm)}
        if strange := [name for name in names if name not in known]:
            raise RoutestatError(f"names: no predictor of this routestat is {strange[0]!r}")
        places = file.whole("windows", (None, 3), 1 << 16).tolist()
        if not _covers(places, len(routers)):
            raise RoutestatError(f"windows: expected each of {len(routers)} layers as a target once")
        windows = [Window(*place) for place in places]
        return HistoryPredictors(
            routers, states, [_window(file, at, one, routers, names) for at, one in enumerate(windows)]
        )


def _words(file: Arrays, name: str) -> tuple[str, ...]:
    return tuple(file.read(name, "U", (None,), 1 << 16).tolist())


def _covers(places: list[list[int]], n: int) -> bool:
    """Whether the targets of windows follow each other, from the first layer to the last."""
    done = 0
    for first, stop, targets in places:
        if not (first <= targets == done < stop <= n):
            return False
        done = stop
    return done == n


def _window(
    file: Arrays, at: int, window: Window, routers: list[Router], names: tuple[str, ...]
) -> HistoryWindow:
    of, own = f"window_{at:03d}", routers[window.first : window.stop]
    blocks = _words(file, f"{of}_blocks")
    sizes = file.whole(f"{of}_sizes", (len(blocks),)).tolist()
    wanted = {r.name: r.n_experts for r in own} | {previous(r.name): r.n_experts for r in own}
    wanted |= {"constant": 1, "no previous token": 1}
    free = {"token id", previous("token id")}
    found = dict(zip(blocks, sizes, strict=True))
    if len(found) < len(blocks) or blocks[:1] != ("constant",) or min(sizes) < 1:
        raise RoutestatError(f"{of}_blocks: expected the constant and then other blocks, each once")
    if {name: size for name, size in found.items() if name not in free} != wanted:
        raise RoutestatError(
            f"{of}_blocks: expected the layers of the window and those of the previous token"
        )
    n = sum(sizes)
    if n**2 > MOST_PAIRS:
        raise RoutestatError(f"{of}_sizes: {n:,} features are more than are ever saved")
    half = file.read(f"{of}_pairs", "u", (n * (n + 1) // 2,))
    pairs = np.zeros((n, n), np.uint32)
    upper = np.triu_indices(n)
    pairs[upper] = half
    pairs.T[upper] = half
    ids = file.whole(f"{of}_token_ids", (None,), 1 << 24)
    features = file.whole(f"{of}_token_features", (len(ids),))
    if (np.diff(ids) <= 0).any() or (features >= found.get("token id", 0)).any():
        raise RoutestatError(
            f"{of}_token_ids: expected ascending ids and features below {found.get('token id', 0)}"
        )
    return HistoryWindow(
        window, blocks, tuple(sizes), read_only(pairs), ids, features, _settings(file, of, window, names)
    )


def _settings(
    file: Arrays, of: str, window: Window, names: tuple[str, ...]
) -> dict[tuple[str, int], RidgeSetting]:
    models = file.whole(f"{of}_models", (None, 2), 1 << 20)
    values = file.reals(f"{of}_settings", (len(models), 3), float(np.finfo(np.float64).tiny))
    places, targets = models.T
    inside = (places < len(names)) & (targets >= window.targets) & (targets < window.stop)
    if not inside.all():
        raise RoutestatError(f"{of}_models: expected predictors below {len(names)} of layers of the window")
    return {
        (names[place], target): RidgeSetting(*row)
        for (place, target), row in zip(models.tolist(), values.tolist(), strict=True)
    }
