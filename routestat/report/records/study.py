"""results.json, the CSV tables, the saved chain and the route graph of one trace.

The keys of results.json are stable; units are in their names.
"""

from pathlib import Path

from routestat.report.records.bayes import bayes_record, write_bayes
from routestat.report.records.blocks import bicluster_record
from routestat.report.records.chain import chain_record
from routestat.report.records.layer_pairs import budget_record, layer_pair_record
from routestat.report.records.layers import (
    coactivation_columns,
    coactivation_record,
    load_record,
    map_records,
    sample_size_record,
)
from routestat.report.records.level_checks import calibration_record
from routestat.report.records.memory import memory_record, order_records
from routestat.report.records.model_facts import model_facts_records
from routestat.report.records.modules import module_columns, modules_records, write_documents
from routestat.report.records.plain import Record, plain, write_columns, write_json, write_rows
from routestat.report.records.prediction import prediction_records, prediction_tables
from routestat.report.records.route_graph import graph_records, write_graph
from routestat.report.records.routes import path_records, paths_summary
from routestat.report.records.specialisation import specialisation_records
from routestat.report.records.trace_facts import trace_record
from routestat.report.records.transfer import data_set_records
from routestat.report.records.transitions import transition_columns
from routestat.report.records.triples import cell_columns, margin_columns, triple_files, triples_records
from routestat.report.records.windows import windows_records
from routestat.study.chain_file import CHAIN_FILE, save_chain
from routestat.study.layer_pairs import LayerPair
from routestat.study.predictors_file import PREDICTORS_FILE, save_predictors
from routestat.study.trace_study import Study

#: Files of the folder tables, beside the cells of every transition.
TABLES = (
    "layers", "dependence", "order", "contexts", "horizons", "map", "coactivation", "enough", "prediction",
    "prediction_mean", "prediction_horizons", "prediction_curves", "prediction_next_token", "prediction_by_phase",
    "prediction_by_domain", "prediction_calibration", "gate_against_table", "transfer", "transfer_domains",
    "data_effect", "paths", "biclusters", "triples", "specialisation", "specialisation_experts", "specialisation_cells",
    "expert_use", "module_order", "module_successions", "module_joint",
    "identity_experts", "real_experts", "document_views", "model_parts",
    "windows",
)  # fmt: skip


def results(study: Study) -> Record:
    """Return the content of results.json as plain Python values; a part that was left out is absent."""
    across = study.across_layers
    record: Record = {
        "format": "routestat-results",
        "version": 1,
        "trace": trace_record(study),
        "parts": list(study.parts),
        "states": study.states,
    }
    if study.level_checks is not None:
        record["calibration"] = calibration_record(
            study.level_checks, [router.layer for router in study.routers]
        )
    record["layers"] = [load_record(load) for load in study.loads]
    if study.pairs is not None:
        record["dependence"] = [layer_pair_record(pair) for pair in study.pairs]
        record["order"] = order_records(study.pairs, study.memory)
    if study.memory is not None:
        record["memory"] = memory_record(study.memory)
    record["across_families"] = dict(study.adjusted_log10_p)
    if study.pairs is not None and study.budget is not None:
        record["budget"] = budget_record(study.budget, study.pairs)
    if "layer-map" in study.parts:
        record["map"] = map_records(across)
    if across.coactivation is not None:
        record["coactivation"] = [coactivation_record(item) for item in across.coactivation]
    if across.sample_size is not None:
        record["enough"] = [sample_size_record(item) for item in across.sample_size]
    if study.chain is not None:
        record["chain"] = chain_record(study.chain)
    if study.board is not None:
        record |= prediction_records(study.board)
    if study.data_set is not None:
        record |= data_set_records(study.data_set)
    if study.not_fitted:
        record["prediction_not_fitted"] = dict(study.not_fitted)
    if study.paths is not None:
        record["paths"] = path_records(study.paths, study.routers, study.states)
        record["paths_summary"] = paths_summary(study.paths, study.states)
    if study.graph is not None:
        record |= graph_records(study.graph)
    if study.blocks is not None:
        record["biclusters"] = [bicluster_record(item) for item in study.blocks]
    if study.windows is not None:
        record |= windows_records(study.windows)
    if study.triples is not None:
        record |= triples_records(study.triples, study.states)
    if study.modules is not None:
        record |= modules_records(study.modules)
    if study.specialisation is not None:
        record |= specialisation_records(study.specialisation)
    if study.model_facts is not None:
        record |= model_facts_records(study.model_facts, study.loads)
    if study.bayes is not None:
        record["bayes"] = bayes_record(study.bayes)
    found: Record = plain(record)
    return found


def tables_of(record: Record) -> Record:
    """Return the records of the files of the folder tables, by name of the file; of the parts that there are."""
    rows = record | record.get("memory", {}) | prediction_tables(record)
    return {name: rows[name] for name in TABLES if name in rows}


def write_results(study: Study, folder: Path) -> Record:
    """Write results.json, tables, the graph, the chain and the ridges; return the content of results.json."""
    record = results(study)
    write_json(folder / "results.json", record)
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    rows = tables_of(record)
    for name in TABLES:
        if name not in rows:
            (tables / f"{name}.csv").unlink(missing_ok=True)
        elif name == "coactivation":
            write_columns(tables / f"{name}.csv", coactivation_columns(study.across_layers))
        elif name in (columns := module_columns(study.modules, study.loads)):
            write_columns(tables / f"{name}.csv", columns[name])
        else:
            write_rows(tables / f"{name}.csv", rows[name])
    _write_transitions(study, tables)
    _write_triples(study, tables)
    write_documents(study.modules, tables)
    if study.bayes is not None:
        write_bayes(study.bayes, folder)
    else:
        for stale in folder.glob("bayes-order*.nc"):
            stale.unlink()
    if study.chain is not None:
        save_chain(study.chain, folder / CHAIN_FILE, study.factorised)
    else:
        (folder / CHAIN_FILE).unlink(missing_ok=True)
    if study.history is not None:
        save_predictors(study.history, folder / PREDICTORS_FILE)
    else:
        (folder / PREDICTORS_FILE).unlink(missing_ok=True)
    write_graph(study, folder)
    return record


def _write_transitions(study: Study, tables: Path) -> None:
    """Write the cells of every transition that has tokens, and delete files of others."""
    for stale in tables.glob("transition-*.csv"):
        stale.unlink()
    for pair in study.pairs or ():
        columns = transition_columns(pair, study.states)
        if columns is not None:
            write_columns(tables / f"{cells_file(pair)}.csv", columns)


def _write_triples(study: Study, tables: Path) -> None:
    """Write the cells and the margins of every three layers that have tokens, and delete files of others."""
    for stale in tables.glob("triple-*.csv"):
        stale.unlink()
    for item in study.triples or ():
        for name, columns in zip(triple_files(item), (cell_columns, margin_columns), strict=False):
            write_columns(tables / f"{name}.csv", columns(item, study.states))


def cells_file(pair: LayerPair) -> str:
    """Return the name of the table of a transition, without its ending."""
    return f"transition-{pair.source.name}-{pair.target.name}"
