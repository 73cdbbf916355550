"""Groups added to a sampler's InferenceData: left-out likelihoods, replicated tables, counts, layer names."""

from typing import Any

import numpy as np
import xarray as xr

from routestat.inference.base.tables import Floats, Integers
from routestat.inference.bayes.likelihood import CollapsedLikelihood
from routestat.inference.bayes.results import Checks


def complete(
    data: Any,
    evidence: CollapsedLikelihood,
    paths: tuple[tuple[int, ...], ...],
    left_out: Floats,
    checks: Checks,
    kept: Integers,
) -> None:
    """Add the groups log_likelihood, posterior_predictive and observed_data to `data`, and names to its posterior.

    Parameters
    ----------
    data
        An ArviZ InferenceData with a posterior over `unit` and, at order 1, `column`.
    left_out
        Log probability of each bundle given all others `[chain, draw, bundle]`, in nats.
    checks, kept
        As `predictive_checks.check` returns them.
    """
    names = [" → ".join(map(str, path)) for path in paths]
    data.posterior.coords["path"] = ("unit", names)
    if evidence.order == 1:
        data.posterior.coords["column_unit"] = ("column", evidence.column_unit)
        data.posterior.coords["column_target"] = ("column", evidence.column_target)
    places = {"chain": data.posterior.chain, "draw": data.posterior.draw}
    data.add_groups(
        log_likelihood=xr.Dataset({"bundle": (("chain", "draw", "group_bundle"), left_out)}, places),
        posterior_predictive=_replicated(checks, kept, left_out.shape[0], names),
        observed_data=_observed(evidence, checks, names),
    )


def _replicated(checks: Checks, kept: Integers, chains: int, names: list[str]) -> xr.Dataset:
    shape = chains, len(kept), checks.observed.shape[1]
    values = {
        name: (("chain", "draw", "unit"), part.reshape(shape))
        for name, part in zip(checks.statistics, checks.replicated, strict=True)
    }
    return xr.Dataset(values, {"chain": np.arange(chains), "draw": kept, "path": ("unit", names)})


def _observed(evidence: CollapsedLikelihood, checks: Checks, names: list[str]) -> xr.Dataset:
    """Return the observed cells of all units, and the statistics of every unit."""
    pooled = [cells.pooled() for cells in evidence.units]
    unit = np.concatenate([np.full(len(row), place) for place, (row, _, _) in enumerate(pooled)])
    row, target, count = (np.concatenate(column) for column in zip(*pooled, strict=True))
    values = {"cell_unit": unit, "cell_row": row, "cell_target": target, "cell_count": count}
    seen = {name: ("cell", column) for name, column in values.items()}
    seen |= {name: ("unit", part) for name, part in zip(checks.statistics, checks.observed, strict=True)}
    return xr.Dataset(seen, {"path": ("unit", names)})
