"""The section on prediction: what its first sentences, its pictures and its script take from the records."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from routestat.report.families import Line, lines_of
from routestat.report.html.curve_codes import decoded, encoded
from routestat.report.html.curve_picture import Curve, drawn
from routestat.report.html.reliability import reliability_panels
from routestat.report.records.plain import Record

#: Per cent of the needed experts that the page begins with.
SHARE = 90
#: The predictor that the first sentence compares with.
LOAD = "popularity"
#: Parts of the section that a trace or a run may lack, and what they would need.
_PARTS = {
    "prediction_by_phase": "scores by phase (the tokens are of one phase, or of unknown ones)",
    "prediction_by_domain": "scores by domain (the documents are of one domain, or of unknown ones)",
    "gate_against_table": "the layer’s own gate (no lookahead was recorded)",
}


@dataclass(frozen=True)
class PredictionPicture:
    """The first picture of the section.

    Attributes
    ----------
    svg : Markup
        The mean over layers, one layer ahead.
    data : Markup
        What the script draws from, as JSON.
    rows : tuple of dict
        One per predictor, the highest recall first: its record with `css`, `dash`, `shown` and `fetch`, the experts to
        fetch for `SHARE` per cent of the needed ones, or None where the curve ends before.
    top_k, n_experts, most : int
        Experts chosen, of how many, and fetched at most.
    targets : tuple of str
        Words for the places of the first slider: the mean, then each layer.
    horizons : tuple of int
        Layers ahead.
    """

    svg: Markup
    data: Markup
    rows: tuple[Record, ...]
    top_k: int
    n_experts: int
    most: int
    targets: tuple[str, ...]
    horizons: tuple[int, ...]


@dataclass(frozen=True)
class PredictionSection:
    """What the templates of the section show beside the records themselves.

    Attributes
    ----------
    best, base, guess : dict, optional
        Records of the predictor with the highest recall, of the best baseline, and of guessing; None if there is none.
    scored : tuple of dict
        Records of the predictors, the highest recall first.
    cheaper : dict, optional
        Record of the predictor with the fewest multiply-adds among those that are not clearly worse than the best;
        None where that is the best itself.
    ranges : tuple of (str, dict, dict)
        "domain" and "phase", with the records of the best predictor where its recall is lowest and highest.
    picture : PredictionPicture, optional
        None where layers choose different numbers of experts.
    calibration : tuple of dict
        Records of calibration.
    reliability : Markup
        Their curves, of the predictors of the picture.
    shown, others : tuple of str
        Predictors of the picture and all others, the highest recall first.
    baselines : frozenset of str
    absent : tuple of str
        Parts that this record lacks.
    share : int
    """

    best: Record | None
    base: Record | None
    guess: Record | None
    scored: tuple[Record, ...]
    cheaper: Record | None
    ranges: tuple[tuple[str, Record, Record], ...]
    picture: PredictionPicture | None
    calibration: tuple[Record, ...]
    reliability: Markup
    shown: tuple[str, ...]
    others: tuple[str, ...]
    baselines: frozenset[str]
    absent: tuple[str, ...]
    share: int = SHARE


def prediction_section(record: Record) -> PredictionSection | None:
    """Return what the section shows; None without the part prediction."""
    if "prediction_mean" not in record:
        return None
    mean = record["prediction_mean"]
    scored = sorted(
        (row for row in mean if row["recall_at_k"] is not None), key=lambda row: -row["recall_at_k"]
    )
    # Guessing needs no documents to fit on: alone it is no board.
    if all(row["family"] == "uniform" for row in scored):
        scored = []
    best = scored[0] if scored else None
    # The best of a family has the solid line.
    lines = lines_of([*scored, *mean])
    picture = _picture(record, scored, lines)
    calibration = [row for row in record.get("prediction_calibration", ()) if row.get("bins")]
    shown = _shown(scored)
    return PredictionSection(
        best=best,
        base=next((row for row in scored if row["baseline"]), None),
        guess=next((row for row in scored if row["family"] == "uniform"), None),
        scored=tuple(scored),
        cheaper=_cheaper(scored),
        ranges=tuple(_ranges(record, best["predictor"])) if best else (),
        picture=picture,
        calibration=tuple(calibration),
        reliability=reliability_panels([row for row in calibration if row["predictor"] in shown], lines),
        shown=tuple(row["predictor"] for row in scored if row["predictor"] in shown),
        others=tuple(row["predictor"] for row in scored if row["predictor"] not in shown),
        baselines=frozenset(row["predictor"] for row in mean if row["baseline"]),
        absent=tuple(words for key, words in _PARTS.items() if not record.get(key)),
    )


def fetch_for(row: Mapping[str, Any], fetched: Sequence[int], share: int = SHARE) -> int | None:
    """Return the least number of experts fetched with that per cent of the needed ones present; None if there is none.

    Shares are compared as they are shown, with three decimals.
    """
    found = decoded(encoded(row["found"][: len(fetched)]))
    reached = (n for n, one in zip(fetched, found, strict=True) if one is not None and one >= 10 * share)
    return next(reached, None)


def _cheaper(scored: Sequence[Record]) -> Record | None:
    """Return the cheapest predictor whose paired difference to the best may be zero, if that is not the best."""
    close = [
        row
        for row in scored
        if row["multiply_adds_per_token"] is not None
        and (row["recall_less_than_best_ci95"] or [None])[0] is not None
        and row["recall_less_than_best_ci95"][0] <= 0
    ]
    least = min(close, key=lambda row: row["multiply_adds_per_token"], default=None)
    return None if least is None or least is scored[0] else least


def _ranges(record: Record, best: str) -> list[tuple[str, Record, Record]]:
    found = []
    for what in ("domain", "phase"):
        rows = [
            row
            for row in record.get(f"prediction_by_{what}", ())
            if row["predictor"] == best and row["recall_at_k"] is not None
        ]
        if len(rows) > 1:
            order = sorted(rows, key=lambda row: row["recall_at_k"])
            found.append((what, order[0], order[-1]))
    return found


def _picture(record: Record, scored: Sequence[Record], lines: Mapping[str, Line]) -> PredictionPicture | None:
    """Return the picture of the curves, of rows from the highest recall down; None where these have no common mean."""
    rows = [row for row in scored if row["found"]]
    if not rows:
        return None
    fetched, n_experts = rows[0]["fetched"], max(record["trace"]["n_experts"])
    listed = [row for row in record["prediction_mean"] if row in rows]
    shown = _shown(rows)
    curves = [
        Curve(row["predictor"], lines[row["predictor"]], _code(row, len(fetched)))
        for row in listed
        if row["predictor"] in shown
    ]
    names, codes, horizons = _all_curves(record, listed, len(fetched))
    targets = ("mean over layers", *names)
    data = {
        "fetched": fetched,
        "experts": n_experts,
        "load": LOAD,
        "targets": targets,
        "horizons": horizons,
        "predictors": [_drawn_as(row["predictor"], lines[row["predictor"]]) for row in listed],
        "curves": codes,
    }
    return PredictionPicture(
        svg=drawn(curves, fetched, n_experts, SHARE, targets[0]),
        # A script ends at the first end tag in it, whatever the quotes around it.
        data=Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
        rows=tuple(_row(row, lines[row["predictor"]], row["predictor"] in shown, fetched) for row in rows),
        top_k=fetched[0],
        n_experts=n_experts,
        most=fetched[-1],
        targets=targets,
        horizons=tuple(horizons),
    )


def _row(row: Record, line: Line, shown: bool, fetched: Sequence[int]) -> Record:
    return row | {"css": line.css, "dash": line.dash, "shown": shown, "fetch": fetch_for(row, fetched)}


def _shown(rows: Sequence[Record]) -> set[str]:
    """Return the best of each family that is no baseline, the best baseline, and guessing; the best rows come first."""
    best: dict[str, str] = {}
    for row in rows:
        best.setdefault("baseline" if row["baseline"] else row["family"], row["predictor"])
    return {*best.values(), *(row["predictor"] for row in rows if row["family"] == "uniform")}


def _drawn_as(name: str, line: Line) -> Record:
    return {"name": name, "css": line.css, "dash": line.dash}


def _code(row: Mapping[str, Any], n: int) -> str:
    """Encode the curve and its limits with n points each; a layer with fewer experts has fewer points."""
    columns = [row[key][:n] for key in ("found", "found_low", "found_high")]
    return encoded(one for column in columns for one in [*column, *[None] * (n - len(column))])


def _all_curves(
    record: Record, listed: Sequence[Record], n: int
) -> tuple[tuple[str, ...], dict[str, str], list[int]]:
    """Return words for the targets, the curves by "predictor target ahead" as places, and the layers ahead.

    Target 0 is the mean; 0 layers ahead stands for what is the same however far ahead.
    """
    places = {row["predictor"]: place for place, row in enumerate(listed)}
    codes = {f"{place} 0 1": _code(row, n) for place, row in enumerate(listed)}
    ahead, layers = {1}, record["trace"]["layers"]
    for row in record.get("prediction_horizons", ()):
        if row["predictor"] in places and row["found"]:
            codes.setdefault(f"{places[row['predictor']]} 0 {row['layers_ahead']}", _code(row, n))
            ahead.add(row["layers_ahead"])
    targets: dict[str, int] = {}
    for row in record.get("prediction_curves", ()):
        if row["predictor"] not in places or not row["found"]:
            continue
        router = f" ({row['router']})" if layers.count(row["target"]) > 1 else ""
        place = targets.setdefault(f"layer {row['target']}{router}", len(targets) + 1)
        codes[f"{places[row['predictor']]} {place} {row['layers_ahead']}"] = _code(row, n)
        ahead |= {row["layers_ahead"]} - {0}
    return tuple(targets), codes, sorted(ahead)
