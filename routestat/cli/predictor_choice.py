"""Which predictor answers ``predict --with``: one of the chain, or a ridge of the report."""

import json
from dataclasses import dataclass
from pathlib import Path

from routestat.cli.open_run import OpenedRun
from routestat.errors import RoutestatError
from routestat.forecast.history_predictor import HistoryPredictors
from routestat.study.predictors_file import PREDICTORS_FILE, load_predictors
from routestat.traces.validation import first_line

#: ``--with best``: of least log loss on held-out documents.
BEST = "best"
#: The order of the chain that a predictor is, by view.
_CHAINS = {
    "subset": {"popularity": 0, "layer-1": 1, "layers-2": 2},
    "expert": {"layer-1-factorised": 1, "layers-2-factorised": 2, "layers-4-factorised": 4},
}
#: What looks further ahead in the expert view, unless another predictor is named.
FURTHER = "ridge-all"


@dataclass(frozen=True)
class ChosenPredictor:
    """What answers: the ridge `name`, or, with `history` None, the chain with an order.

    `why` says how it was chosen, where the user did not name it.
    """

    name: str
    order: int | None = None
    history: HistoryPredictors | None = None
    why: str = ""


def choose_predictor(run: OpenedRun | None, folder: Path, name: str | None, ahead: int) -> ChosenPredictor:
    """Find the requested predictor.

    Parameters
    ----------
    run : OpenedRun, optional
        None for a report without a chain.
    folder : path
        Of the report or the trace.
    name : str, optional
        ``best``, or the name of a predictor. By default the chain; in the expert view, for more than one layer ahead,
        `FURTHER`, if the report has it.
    ahead : int

    Raises
    ------
    RoutestatError
        If there is no such predictor here.
    """
    file = folder / PREDICTORS_FILE
    history = load_predictors(file) if file.is_file() else None
    states = (
        history.states if run is None and history is not None else "" if run is None else run.chain.states
    )
    chains = _CHAINS.get(states, {}) if run is not None else {}
    if run is not None and run.factorised is None and states == "expert":
        chains = {}
    if name is None:
        if run is not None and (
            ahead == 1 or states == "subset" or history is None or FURTHER not in history.names
        ):
            return ChosenPredictor("")
        why = "A ridge fitted to this many layers ahead; --with layer-1-factorised draws the layers between instead."
        return ChosenPredictor(FURTHER, history=history, why=why if run is not None else "")
    known = [*chains, *(history.names if history is not None else ())]
    why = ""
    if name == BEST:
        name, why = _best(folder, known, ahead)
    if name not in known:
        none = (
            ""
            if history is not None
            else (
                f"; for ridges name a report whose part prediction was computed ({PREDICTORS_FILE} is missing)"
            )
        )
        raise RoutestatError(
            f"--with: expected {', '.join((BEST, *known)) if known else 'a report'}, got {name!r}{none}"
        )
    if name in chains:
        return ChosenPredictor(name, chains[name], why=why)
    return ChosenPredictor(name, history=history, why=why)


def _best(folder: Path, known: list[str], ahead: int) -> tuple[str, str]:
    """Return the predictor of least log loss among those that can answer, and a sentence on it."""
    file = folder / "results.json"
    try:
        record = json.loads(file.read_bytes())
        rows = {(one["predictor"], 1): one["log_loss_bits"] for one in record.get("prediction_mean", ())}
        rows |= {
            (one["predictor"], one["layers_ahead"]): one["log_loss_bits"]
            for one in record.get("prediction_horizons", ())
        }
    except FileNotFoundError:
        raise RoutestatError(
            f"--with best needs the scores of {file}, which is missing; name a predictor"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RoutestatError(
            f"{file}: expected results of analyze, got others ({first_line(error)})"
        ) from None
    far = ahead if any(n == ahead for _, n in rows) else 1
    scored = {name: rows[name, far] for name in known if isinstance(rows.get((name, far)), float)}
    if not scored:
        raise RoutestatError(
            f"--with best: {file} scores none of the predictors that can answer; analyze with the part prediction"
        )
    name = min(scored, key=lambda one: scored[one])
    return name, (
        f"{name} has the least log loss on held-out documents, {scored[name]:.3f} bits per token {far} "
        f"layer{'s' if far > 1 else ''} ahead, of {len(scored)} that can answer."
    )
