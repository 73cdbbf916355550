"""Random traces, written in any form, order, split and packing, come back as they were."""

import itertools
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routestat.traces.importers.tables import parquet_rows, sources
from tests.traces.importers.tables.written import KINDS, PACKED, known, read, rows_of, same, write

FORMS = ("columns", "list", "expert")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("packed", PACKED)
def test_every_form_of_every_kind(tmp_path, kind, form, packed):
    if kind == "parquet" and packed:
        pytest.skip("Parquet packs itself")
    trace = known(1, missing=0.2)
    extra = ("token", "phase", *(("slot", "weight") if form == "expert" else ()))
    path = write(tmp_path / f"x.{kind}{packed}", rows_of(trace, form, extra))
    table, parts = read(path, n_experts=9)
    same(parts, trace)
    (part,) = parts
    assert part.decode.sum() == trace.decode.sum()
    assert sorted(part.token.tolist()) == sorted(trace.token.tolist())
    assert [note for note in table.notes if "layers have unequal numbers of rows" not in note] == []
    assert part.routers[0].n_experts == 9
    assert part.slot_order == ("weight" if form == "expert" else "unknown")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(KINDS),
    form=st.sampled_from(FORMS),
    order=st.sampled_from(["token", "layer", "shuffled"]),
    files=st.integers(1, 3),
    packed=st.sampled_from(PACKED),
    top_k=st.integers(1, 4),
    budget=st.sampled_from([None, 1, 600]),
    missing=st.sampled_from([0.0, 0.3]),
    block=st.sampled_from([32, 200, 1 << 20]),
)
def test_any_layout_order_split_packing_and_budget(
    tmp_path, seed, kind, form, order, files, packed, top_k, budget, missing, block
):
    rng = np.random.default_rng(seed)
    lengths = tuple(rng.integers(1, 9, rng.integers(1, 5)).tolist())
    trace = known(
        seed, lengths=lengths, layers=(2, 5, 6, 9)[: rng.integers(1, 5)], top_k=top_k, missing=missing
    )
    rows = rows_of(trace, form, ("slot", "token") if form == "expert" else ("token",))
    if order == "layer":
        rows.sort(key=lambda row: row["layer"])
    elif order == "shuffled":
        rng.shuffle(rows)
    cuts = np.sort(rng.choice(np.arange(1, max(len(rows), 2)), min(files, len(rows)) - 1, replace=False))
    places = [0, *cuts.tolist(), len(rows)]
    suffix = kind if kind == "parquet" else kind + packed
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    paths = [
        write(folder / f"x{number}.{suffix}", rows[low:high])
        for number, (low, high) in enumerate(itertools.pairwise(places))
    ]
    with patch.object(sources, "BLOCK_BYTES", block), patch.object(parquet_rows, "BATCH_ROWS", block):
        _, parts = read(paths, budget=budget, n_experts=9)
    same(parts, trace)
    numbers = [number for part in parts for number in part.document.tolist()]
    assert numbers == sorted(numbers)
    # Parts are cut between tokens.
    if budget == 1 and len(trace.position) > 2:
        assert len(parts) > 1


@pytest.mark.parametrize(
    ("listed", "between"), [("[{}]", ", "), ("{}", " "), ("{}", ";"), ("{}", "|"), ("({})", ",")]
)
def test_lists_in_any_words(tmp_path, listed, between):
    trace = known(3, top_k=3)
    path = write(tmp_path / "x.csv", rows_of(trace, "list"), listed=listed, between=between)
    _, parts = read(path, n_experts=9)
    same(parts, trace)


def test_weights_decide_the_order_of_slots_and_are_kept_by_id(tmp_path):
    trace = known(4, top_k=3, missing=0.1)
    rows = rows_of(trace, "expert", ("weight",))
    np.random.default_rng(0).shuffle(rows)
    (part,) = read(write(tmp_path / "x.csv", rows), n_experts=9)[1]
    assert part.slot_order == "weight"
    present = trace.experts[..., 0] >= 0
    # The same order of documents, as both are sorted by place.
    order = np.lexsort((trace.position, [f"r{d}" for d in trace.document]))
    called = np.array([part.documents["name"][d] for d in part.document])
    mine = np.lexsort((part.position, called))
    assert np.array_equal(part.experts[mine], trace.experts[order])
    got = part.weights[mine].astype(np.float32)
    assert np.allclose(got[present[order]], trace.weights[order][present[order]], atol=1e-3)
    assert (got[~present[order]] == 0).all()


def test_one_giant_document_in_parts(tmp_path):
    trace = known(5, lengths=(400,), layers=(0, 1), missing=0.1)
    rows = rows_of(trace, "columns")
    np.random.default_rng(1).shuffle(rows)
    path = write(tmp_path / "x.csv", rows)
    _, parts = read(path, budget=2000, n_experts=9)
    same(parts, trace)
    assert len(parts) > 3
    starts = [part.position[0] for part in parts]
    assert starts == sorted(starts)
