"""The CSV tables of cells: what is listed, and that every number reads back as it was."""

import csv
import json

import numpy as np
import pytest

from routestat.counting.counts import count
from routestat.report.records.plain import plain, write_columns, write_json
from routestat.report.records.transitions import transition_columns
from routestat.study.layer_pairs import layer_pairs
from routestat.study.layers import sample_of
from routestat.study.transitions import transition_table
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace


def read(path):
    return list(csv.DictReader(path.open(newline="", encoding="utf-8")))


def test_numbers_read_back_as_they_were_and_nan_is_empty(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.random(2000) * 10.0 ** rng.integers(-300, 300, 2000)
    values[:6] = [0.1, 1.0, -0.0, 5e-324, np.nan, np.inf]
    words = np.array([f"{place} {place + 1}" for place in range(2000)])
    write_columns(
        tmp_path / "t.csv", {"experts": words, "count": np.arange(2000, dtype=np.uint8) * 0 + 7, "x": values}
    )
    rows = read(tmp_path / "t.csv")
    assert list(rows[0]) == ["experts", "count", "x"]
    assert [row["experts"] for row in rows] == words.tolist()
    assert {row["count"] for row in rows} == {"7"}
    assert [row["x"] for row in rows if not row["x"]] == ["", ""]
    known = np.isfinite(values)
    assert [float(row["x"]) for row in rows if row["x"]] == values[known].tolist()


def test_words_that_would_need_quotes_are_refused(tmp_path):
    with pytest.raises(Exception, match="quot"):
        write_columns(tmp_path / "t.csv", {"experts": np.array(["0,1"])})


def test_a_table_without_rows_has_its_header(tmp_path):
    write_columns(tmp_path / "t.csv", {"a": np.empty(0), "b": np.empty(0, dtype="U1")})
    assert (tmp_path / "t.csv").read_text().split() == ["a,b"]


@pytest.mark.parametrize("name", ["states", "experts", "top 1", "dead experts", "token ids"])
def test_transitions_list_the_cells_with_tokens_and_those_without_where_they_are_missed(reports, name):
    report = reports(name)
    study = report.study
    for pair in study.pairs:
        found = transition_table(pair, study.states)
        rows = read(report.folder / "tables" / f"transition-{pair.source.name}-{pair.target.name}.csv")
        cells = [(int(row["source"]), int(row["target"])) for row in rows]
        missed = np.zeros(pair.table.shape, bool) if found.log10_q is None else 10**found.log10_q <= 0.05
        assert cells == list(zip(*np.nonzero((pair.table > 0) | missed), strict=True))
        columns = {
            "count": pair.table,
            "joint": found.joint,
            "conditional": found.conditional,
            "lift": found.lift,
            "adjusted_residual_iid": found.residuals,
        }
        columns |= {"z_clustered": found.z, "log10_q_clustered": found.log10_q} if found.z is not None else {}
        assert set(columns) <= set(rows[0])
        for row, cell in zip(rows, cells, strict=True):
            assert int(row["row_tokens"]) == found.row_tokens[cell[0]]
            for key, values in columns.items():
                assert (float(row[key]) if row[key] else None) == plain(values[cell]), key
            if study.states == "subset":
                experts = pair.source.alphabet.unrank(cell[0]).tolist()
                assert row["source_experts"] == " ".join(map(str, experts))


def test_missing_tokens_that_are_significant_are_listed():
    """Two sources with the same target shares, but for one cell that is empty in every document."""
    rng = np.random.default_rng(1)
    source, target = rng.integers(0, 4, (2, 8000))
    target[(source == 0) & (target == 1)] = 2
    # One token has a choice that no other has: most of its cells are empty, and nothing says that they should not be.
    source[0] = 5
    meta = TraceMeta(routers_like(range(2), 6, 1), name="t")
    trace = Trace.from_arrays(
        meta, np.repeat(np.arange(100), 80), None, np.stack([source, target], 1).astype(np.uint8)
    )
    counts = count(trace)
    (pair,) = layer_pairs(trace, counts, sample_of(trace, counts), rng)
    columns = transition_columns(pair, "subset")
    listed = set(zip(columns["source"].tolist(), columns["target"].tolist(), strict=True))
    assert pair.table[0, 1] == 0
    assert (0, 1) in listed
    assert {target for source, target in listed if source == 5} == {int(target[0])}


def test_no_table_of_a_transition_without_tokens(reports):
    report = reports("layer without tokens")
    assert list((report.folder / "tables").glob("transition-*.csv")) == []
    assert "transition-L00-L01.csv" not in report.html


@pytest.mark.parametrize("name", ["states", "experts", "dead experts"])
def test_pairs_of_experts_that_were_chosen_together_are_listed(reports, name):
    report = reports(name)
    rows = iter(read(report.folder / "tables" / "coactivation.csv"))
    for item in report.study.across_layers.coactivation:
        q = np.minimum(np.nan_to_num(item.pooled.log10_q), np.nan_to_num(item.documents.log10_q))
        for place in np.flatnonzero((item.pooled.observed > 0) | (q <= np.log10(0.05))):
            row = next(rows)
            assert row["layer"] == str(item.router.layer)
            assert row["experts"] == " ".join(map(str, item.pooled.experts[place]))
            assert float(row["observed"]) == item.pooled.observed[place]
            assert (float(row["log10_q"]) if row["log10_q"] else None) == plain(item.pooled.log10_q[place])
    assert next(rows, None) is None


def test_json_has_a_line_per_item_and_reads_back(tmp_path):
    record = {
        "name": "a\nb",
        "empty": [],
        "numbers": [1, 2.5, None],
        "rows": [{"a": 1, "b": [1, 2]}, {"a": None}],
        "part": {"x": 0.1, "rows": [{"a": 1}, {"a": 2}], "none": {}},
        "flat": {"a": 1, "b": "c"},
    }
    write_json(tmp_path / "r.json", record)
    text = (tmp_path / "r.json").read_text()
    assert json.loads(text) == record
    assert list(json.loads(text)) == list(record)
    assert sum('"a"' in line for line in text.splitlines()) == 5
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "r.json", {"x": float("nan")})


def test_plain_values():
    given = {
        "f": np.array([1.0, np.nan, np.inf]),
        "i": np.array([[1, 2]]),
        "s": (np.float32(0.5), np.int64(3), np.bool_(True), float("-inf"), np.float64("nan")),
        "o": np.array([1.0, None], dtype=object),
    }
    found = plain(given)
    assert found == {"f": [1.0, None, None], "i": [[1, 2]], "s": [0.5, 3, True, None, None], "o": [1.0, None]}
    assert [type(one) for one in found["s"][:3]] == [float, int, bool]
