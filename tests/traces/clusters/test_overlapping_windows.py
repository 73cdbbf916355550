"""Copies that overlapping windows make are found; texts that repeat themselves are not."""

import numpy as np
import pytest

from routestat import Trace, TraceMeta, TraceWriter
from routestat.traces.clusters.overlapping_windows import find_repeats
from routestat.traces.clusters.summary import summarise_units
from routestat.traces.metadata import routers_like
from routestat.traces.row_hash import hash_rows
from tests.traces.importers.known import chosen, stored, subsets


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def windows(rows, width, stride):
    """Stretches of `width` rows, each `stride` behind the one before."""
    return [rows[start : start + width] for start in range(0, len(rows) - width + 1, stride)]


def store(folder, parts, tokens=None):
    """A store of these documents ``[row, layer, slot]``."""
    meta = TraceMeta(routers_like(range(parts[0].shape[1]), 16, 2))
    document = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    given = {} if tokens is None else {"token": np.concatenate(tokens)}
    with TraceWriter(folder, meta) as writer:
        writer.write(document, experts=np.concatenate(parts), **given)
    return Trace.open(folder)


@pytest.mark.parametrize(("width", "stride"), [(80, 40), (80, 20), (64, 52)])
@pytest.mark.parametrize("known", [False, True])
def test_windows_that_are_documents_are_one_cluster_and_count_each_row_once(
    tmp_path, rng, width, stride, known
):
    texts = [chosen(rng, 240, 3, 16, 2) for _ in range(3)]
    parts = [part for text in texts for part in windows(text, width, stride)]
    ids = [rng.integers(0, 500, 240) for _ in texts]
    tokens = [part for one in ids for part in windows(one, width, stride)] if known else None
    trace = store(tmp_path / "t", parts, tokens)
    per_text = len(windows(texts[0], width, stride))
    assert trace.units.cluster.tolist() == np.repeat(np.arange(3) * per_text, per_text).tolist()
    assert set(trace.units.reasons) == {"overlap"}
    covered = width + stride * (per_text - 1)
    assert trace.n_counted == 3 * covered
    held = [batch.columns["L00"] for batch in trace.counted(["L00"])]
    alphabet = trace.meta.routers[0].alphabet
    assert (
        np.concatenate(held).tolist()
        == np.concatenate([alphabet.rank(t[:covered, 0]) for t in texts]).tolist()
    )
    (said, again) = summarise_units(trace).sentences()
    assert "begin with the last tokens of the one before" in said
    assert f"{3 * (per_text - 1)} documents begin with the last rows" in again


def test_the_same_text_behind_another_beginning_is_another_measurement(tmp_path, rng):
    ids = rng.integers(0, 500, 240)
    tokens = windows(ids, 80, 40)
    parts = [chosen(rng, 80, 3, 16, 2) for _ in tokens]
    trace = store(tmp_path / "t", parts, tokens)
    assert trace.units.n_clusters == 1
    assert trace.n_counted == trace.n_tokens


def test_what_repeats_by_chance_or_goes_on_is_left_alone(tmp_path, rng):
    dwelling = np.tile([0, 1], (60, 3, 1))
    turns = chosen(rng, 90, 3, 16, 2)
    apart = [chosen(rng, 60, 3, 16, 2) for _ in range(4)]
    parts = [dwelling, dwelling[:50], turns[:30], turns[:60], turns, *apart]
    trace = store(tmp_path / "t", parts)
    assert not trace.units.repeated.any()
    assert trace.n_counted == trace.n_tokens


def test_chosen_windows_count_what_they_repeat_of_others_that_were_not(tmp_path, rng):
    trace = store(tmp_path / "t", windows(chosen(rng, 160, 3, 16, 2), 80, 40))
    assert trace.units.repeated.tolist() == [0, 40, 40]
    assert trace.units.of({0: 0, 2: 1}).repeated.tolist() == [0, 0]
    assert trace.units.of({1: 0, 2: 1}).repeated.tolist() == [0, 40]


@pytest.mark.parametrize("name", ["experts", "rollout_routed_experts"])
def test_windows_joined_in_a_document_become_one_text_again(capsys, tmp_path, rng, name):
    texts = [chosen(rng, 120, 3, 16, 2) for _ in range(4)]
    joined = [np.concatenate(windows(text, 80, 40)) for text in texts]
    if name == "experts":
        document = np.repeat(np.arange(4), 160)
        np.savez(tmp_path / "x.npz", experts=np.concatenate(joined), document=document, n_experts=16)
    else:
        np.savez(tmp_path / "x.npz", **{f"{name}_{i}": part for i, part in enumerate(joined)})
    options = () if name == "experts" else ("--n-experts", 16)
    _, got, err = stored(capsys, tmp_path / "x.npz", tmp_path, *options)
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate(texts)))
    assert got.position.tolist() == list(range(120)) * 4
    assert "4 times in 4 documents, rows repeat those directly before them" in err
    assert "160 copies were dropped" in err


def keys_of(rows):
    return hash_rows(rows.reshape(len(rows), -1).T, len(rows))


@pytest.mark.parametrize(("n_experts", "top_k", "n_layers"), [(4, 1, 1), (4, 1, 3), (8, 2, 2), (64, 6, 4)])
def test_texts_that_repeat_themselves_are_not_accused(n_experts, top_k, n_layers):
    """Routing by the token alone is the worst case: a passage said twice has the same rows twice."""
    rng = np.random.default_rng(n_experts * n_layers)
    accused = 0
    for _ in range(60):
        table = chosen(rng, 200, n_layers, n_experts, top_k)
        texts = []
        for _ in range(8):
            text = rng.integers(0, 200, 150).tolist()
            for _ in range(3):
                at, n = int(rng.integers(0, 100)), int(rng.integers(3, 40))
                # Said twice, or again and again.
                text[at : at + n] = text[at : at + n] * int(rng.choice([2, 2, 3, 5]))
            texts.append(np.array(text))
        document = np.repeat(np.arange(8), [len(text) for text in texts])
        accused += find_repeats(keys_of(table[np.concatenate(texts)]), document, n_layers).n_joins > 0
    assert accused <= 1
