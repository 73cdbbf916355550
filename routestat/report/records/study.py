"""results.json, the CSV tables, the saved chain and the route graph of one trace.

The keys of results.json are stable; units are in their names.
"""

from pathlib import Path

from routestat.report.records.bayes import bayes_record, write_bayes
from routestat.report.records.chain import chain_record, score_record
from routestat.report.records.layer_pairs import budget_record, layer_pair_record
from routestat.report.records.layers import (
    coactivation_record,
    coactivation_rows,
    load_record,
    map_records,
    sample_size_record,
)
from routestat.report.records.level_checks import calibration_record
from routestat.report.records.memory import memory_record, order_records
from routestat.report.records.plain import Record, plain, write_json, write_rows
from routestat.report.records.routes import bicluster_record, path_records
from routestat.report.records.trace_facts import trace_record
from routestat.report.records.transitions import transition_rows
from routestat.structure.route_graph import graphml
from routestat.study.chain_file import CHAIN_FILE, save_chain
from routestat.study.trace_study import Study
from routestat.traces.manifest import replace_file

#: Files of the folder tables, beside the cells of every transition.
TABLES = (
    "layers", "dependence", "order", "contexts", "horizons", "map", "coactivation", "enough", "prediction", "paths",
    "biclusters",
)  # fmt: skip


def results(study: Study) -> Record:
    """Return the content of results.json as plain Python values."""
    record = {
        "format": "routestat-results",
        "version": 1,
        "trace": trace_record(study),
        "states": study.states,
        "calibration": calibration_record(study.level_checks, [router.layer for router in study.routers]),
        "layers": [load_record(load) for load in study.loads],
        "dependence": [layer_pair_record(pair) for pair in study.pairs],
        "order": order_records(study.pairs, study.memory),
        "memory": memory_record(study.memory),
        "across_families": dict(study.adjusted_log10_p),
        "budget": budget_record(study.budget, study.pairs),
        "map": map_records(study.across_layers),
        "coactivation": [coactivation_record(item) for item in study.across_layers.coactivation],
        "enough": [sample_size_record(item) for item in study.across_layers.sample_size],
        "chain": chain_record(study.chain),
        "prediction": [score_record(score) for score in study.board],
        "prediction_mean": [score_record(score) for score in study.mean_board],
        "paths": path_records(study.paths, study.routers, study.states),
        "biclusters": [bicluster_record(item) for item in study.blocks],
    }
    if study.bayes is not None:
        record["bayes"] = bayes_record(study.bayes)
    found: Record = plain(record)
    return found


def write_results(study: Study, folder: Path) -> Record:
    """Write results.json, tables/*.csv, routes.graphml and the chain; return the content of results.json."""
    record = results(study)
    write_json(folder / "results.json", record)
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    rows = record | record["memory"] | {"coactivation": coactivation_rows(study.across_layers)}
    for name in TABLES:
        write_rows(tables / f"{name}.csv", rows[name])
    for stale in tables.glob("transition-*.csv"):
        stale.unlink()
    for pair in study.pairs:
        name = f"transition-{pair.source.name}-{pair.target.name}.csv"
        write_rows(tables / name, transition_rows(pair, study.states))
    if study.bayes is not None:
        write_bayes(study.bayes, folder)
    else:
        for stale in folder.glob("bayes-order*.nc"):
            stale.unlink()
    save_chain(study.chain, folder / CHAIN_FILE, study.factorised)
    replace_file(folder / "routes.graphml", graphml(study.paths.graph).encode())
    return record
