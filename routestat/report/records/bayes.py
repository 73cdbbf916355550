"""`bayes` of results.json, and the files of posterior draws."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate
from routestat.inference.bayes.results import Checks, FullBayes, OrderComparison, OrderPosterior
from routestat.report.records.plain import Record, reason
from routestat.study.posterior_draws import strength_draws, summarise_draws


def bayes_file(order: int) -> str:
    """Return the name of the netCDF file of one order."""
    return f"bayes-order{order}.nc"


def bayes_record(result: FullBayes) -> Record:
    """`bayes` of results.json as plain Python values: no NaN, what is undefined is null and has a reason."""
    return {
        "draws": result.draws,
        "tune": result.tune,
        "chains": result.chains,
        "layers": list(result.layers),
        "converged": result.converged,
        "orders": [_order(order) for order in result.orders],
        "comparison": _comparison(result.comparison),
        "files": [bayes_file(order.order) for order in result.orders],
        **({"note": result.note} if result.note else {}),
    }


def write_bayes(result: FullBayes, folder: Path) -> list[Path]:
    """Write each order's InferenceData as netCDF, to be read with `arviz.from_netcdf`; return the files.

    Files of orders that an earlier run had and this one has not are deleted.
    """
    paths = []
    for order in result.orders:
        path = folder / bayes_file(order.order)
        temporary = path.with_name(path.name + ".tmp")
        try:
            order.inference_data.to_netcdf(str(temporary), engine="h5netcdf")
            paths.append(temporary.replace(path))
        finally:
            temporary.unlink(missing_ok=True)
    for stale in set(folder.glob("bayes-order*.nc")) - set(paths):
        stale.unlink()
    return paths


def _order(item: OrderPosterior) -> Record:
    diagnosis = item.diagnosis
    return {
        "order": item.order,
        "mu_log_strength": _summary(item.mu),
        "sigma_log_strength": _summary(item.sigma),
        "rhat_max": _plain(diagnosis.rhat_max),
        "ess_bulk_min": _plain(diagnosis.ess_bulk_min),
        "ess_tail_min": _plain(diagnosis.ess_tail_min),
        "divergences": diagnosis.divergences,
        "bfmi": [_plain(value) for value in diagnosis.bfmi.tolist()],
        "converged": diagnosis.converged,
        "verdict": diagnosis.verdict,
        "units": [_unit(item, place) for place in range(len(item.paths))],
        "documents": item.checks.reading(),
        **reason(item.checks.reason),
    }


def _unit(item: OrderPosterior, place: int) -> Record:
    strength = strength_draws(item, place)
    closed = _plain(math.exp(item.log_strength_closed_form[place]))
    return {
        "layers": list(item.paths[place]),
        "strength_tokens": strength.median,
        "strength_tokens_ci95": [strength.low, strength.high],
        "strength_tokens_closed_form": closed,
        **_checks(item.checks, place),
        **reason(_missing(item, place)),
    }


def _missing(item: OrderPosterior, place: int) -> str | None:
    if math.isnan(item.log_strength_closed_form[place]):
        return "no token has a choice at all of these layers"
    if np.isnan(item.checks.observed[:, place]).any():
        return "a table with so many rows is not replicated"
    return None


def _checks(checks: Checks, place: int) -> Record:
    record: Record = {}
    for row, name in enumerate(checks.statistics):
        record[name] = _plain(checks.observed[row, place])
        record[f"{name}_replicated"] = _plain(checks.replicated_mean(row, place))
        record[f"p_{name}"] = _plain(checks.p_values[row, place])
    return record | {
        "design_effect": _plain(checks.design_effect[place]),
        "p_exchangeable": _plain(checks.p_exchangeable[place]),
    }


def _comparison(found: OrderComparison) -> Record:
    rows = [
        {
            "order": order,
            "elpd_nats": _plain(found.elpd_nats[place]),
            "elpd_bits_per_token": _plain(found.elpd_bits[place].value),
            "elpd_bits_per_token_se": _plain(found.elpd_bits[place].standard_error),
            "elpd_bits_per_token_ci95": _limits(found.elpd_bits[place]),
            "behind_bits_per_token": _plain(found.behind_bits[place].value),
            "behind_bits_per_token_se": _plain(found.behind_bits[place].standard_error),
            "behind_bits_per_token_ci95": _limits(found.behind_bits[place]),
            "weight": _plain(found.weight[place]),
            "pareto_k_max": _plain(found.pareto_k[place].max()),
            "n_pareto_k_bad": int(found.n_bad[place]),
        }
        for place, order in enumerate(found.orders)
    ]
    return {
        "orders": rows,
        "chosen_order": found.chosen_order,
        "layers": list(found.layers),
        "n_bundles": found.n_bundles,
        "n_tokens": found.n_tokens,
        "pareto_k_limit": _plain(found.good_k),
        "reading": found.reading(),
        **reason(found.reason),
    }


def _summary(draws: NDArray[np.float64]) -> Record:
    found = summarise_draws(draws)
    return {"mean": found.mean, "sd": found.sd, "ci95": [found.low, found.high]}


def _limits(estimate: Estimate) -> list[float | None]:
    return [_plain(estimate.low), _plain(estimate.high)]


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
