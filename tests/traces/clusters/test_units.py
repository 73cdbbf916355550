"""Which documents are independent, and which rows are read: found by hand-made texts, by ids and by choices."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from routestat import Trace, TraceMeta, TraceWriter, count
from routestat.errors import TraceError
from routestat.traces.clusters.summary import summarise_units
from routestat.traces.clusters.units import FOUND, Units
from routestat.traces.manifest import MANIFEST, Manifest, write_arrow
from routestat.traces.metadata import routers_like

LAYERS, STATES, VOCABULARY = 6, 28, 500
META = TraceMeta(routers_like(range(LAYERS), 8, 2))


def text(rng, n):
    return rng.integers(VOCABULARY, size=n)


def routed(texts, rng, flips=0.0):
    """Choices ``[row, layer]`` that follow the token and the place in the text's history, as a model's would."""
    rows = []
    for one in texts:
        seed = np.cumsum(one.astype(np.uint64) * np.uint64(2654435761) + np.uint64(97))
        layers = [
            (seed * np.uint64(2 * layer + 3) >> np.uint64(13)) % np.uint64(STATES) for layer in range(LAYERS)
        ]
        rows.append(np.stack(layers, axis=1).astype(np.uint8))
    states = np.concatenate(rows)
    changed = rng.random(states.shape) < flips
    return np.where(changed, rng.integers(STATES, size=states.shape), states).astype(np.uint8)


def memory_trace(texts, rng, known=True, flips=0.0, **said):
    document = np.repeat(np.arange(len(texts)), [len(one) for one in texts])
    token = np.concatenate(texts) if known else None
    return Trace.from_arrays(META, document, None, routed(texts, rng, flips), token=token, **said)


def clusters(trace):
    units = trace.units
    return [units.document[units.cluster == name].tolist() for name in np.unique(units.cluster)]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("system", [0, 1, 30])
def test_samples_of_one_prompt_are_one_cluster_behind_any_template(known, system):
    rng = np.random.default_rng(system)
    opening, prompts = text(rng, system), [text(rng, 20) for _ in range(10)]
    texts = [np.concatenate([opening, prompt, text(rng, 25)]) for prompt in prompts for _ in range(4)]
    trace = memory_trace(texts, rng, known)
    assert clusters(trace) == [list(range(first, first + 4)) for first in range(0, 40, 4)]
    assert (trace.units.template == system).all()
    assert trace.units.reasons == ("token ids" if known else "choices",)
    assert trace.n_counted == 40 * 45 + system


@pytest.mark.parametrize("system", [0, 1, 30])
@pytest.mark.parametrize("flips", [0.02, 0.05])
def test_choices_that_flip_in_a_few_places_hide_neither_prompts_nor_template(flips, system):
    rng = np.random.default_rng(7)
    opening, prompts = text(rng, system), [text(rng, 40) for _ in range(10)]
    texts = [np.concatenate([opening, prompt, text(rng, 25)]) for prompt in prompts for _ in range(8)]
    units = memory_trace(texts, rng, False, flips).units
    # No two prompts are ever joined. At 5 % a document has no layer without a flip in its 16 rows with a probability of
    # (1 - .95**16)**6 = .03: 2.4 of 80 are missed on average, hardly ever more than 8.
    assert all(
        len({place // 8 for place in units.document[units.cluster == one]}) == 1 for one in units.cluster
    )
    assert 10 <= units.n_clusters <= 18
    assert np.mean(units.template == system) >= 0.9


def test_turns_of_a_conversation_that_resend_their_history_are_one_cluster():
    rng = np.random.default_rng(1)
    talks = [text(rng, 120) for _ in range(8)]
    trace = memory_trace([talk[: 30 * turn] for talk in talks for turn in (1, 2, 3, 4)], rng)
    assert clusters(trace) == [list(range(first, first + 4)) for first in range(0, 32, 4)]


def test_copies_are_one_cluster_however_short_and_wherever_they_stand():
    rng = np.random.default_rng(2)
    short = [text(rng, 7) for _ in range(30)]
    assert clusters(memory_trace([*short, *short], rng)) == [[one, one + 30] for one in range(30)]


def test_thirty_one_shared_tokens_of_a_long_text_are_no_bond_and_thirty_two_are():
    rng = np.random.default_rng(3)
    texts = [text(rng, 300) for _ in range(20)]
    texts[7][:31], texts[9][:32] = texts[3][:31], texts[4][:32]
    found = [one for one in clusters(memory_trace(texts, rng)) if len(one) > 1]
    assert found == [[4, 9]]


def test_fewer_shared_tokens_bind_texts_of_which_they_are_a_fifth():
    rng = np.random.default_rng(3)
    texts = [text(rng, n) for n in (40, 40, 41, 41, 120, 110, 121, 110)]
    for one, other, shared in ((0, 1, 8), (2, 3, 8), (4, 5, 24), (6, 7, 24)):
        texts[other][:shared] = texts[one][:shared]
    assert clusters(memory_trace(texts, rng)) == [[0, 1], [2], [3], [4, 5], [6], [7]]


@pytest.mark.parametrize("n_states", [1, 2, 28])
@pytest.mark.parametrize("stay", [0.0, 0.9, 0.99])
def test_documents_that_agree_by_chance_are_left_alone(n_states, stay):
    rng = np.random.default_rng(4)
    documents, length = 200, 80
    document = np.repeat(np.arange(documents), length)
    fresh = (rng.random(document.size) >= stay) | (np.arange(document.size) % length == 0)
    states = rng.integers(n_states, size=document.size)[
        np.maximum.accumulate(np.where(fresh, np.arange(document.size), 0))
    ]
    trace = Trace.from_arrays(
        TraceMeta(routers_like((0,), 8, 2)), document, None, states[:, None].astype(np.uint8)
    )
    assert trace.units.n_clusters == documents
    assert not trace.units.template.any()


def test_many_texts_of_one_token_from_a_small_vocabulary_are_no_copies():
    rng = np.random.default_rng(5)
    trace = memory_trace([text(rng, 1) for _ in range(400)], rng)
    assert trace.units.n_clusters == 400


def test_a_template_is_read_once_never_or_always(tmp_path):
    rng = np.random.default_rng(6)
    opening = text(rng, 12)
    texts = [np.concatenate([opening, text(rng, 20 + one)]) for one in range(9)] + [
        text(rng, 30) for _ in range(4)
    ]
    n = sum(len(one) for one in texts)
    for template, left_out in (("once", 8 * 12), ("drop", 9 * 12), ("keep", 0)):
        trace = memory_trace(texts, rng, template=template)
        batches = list(trace.counted(["token"]))
        token = np.concatenate([batch.columns["token"] for batch in batches])
        position = np.concatenate([batch.position for batch in batches])
        whole = [one[12:] if template != "keep" and place < 9 else one for place, one in enumerate(texts)]
        whole[0] = texts[0] if template == "once" else whole[0]
        assert token.tolist() == np.concatenate(whole).tolist()
        # What is read keeps its place in the text.
        assert position[-30:].tolist() == list(range(30))
        assert trace.n_counted == len(token) == n - left_out
        assert trace.n_tokens == n == sum(len(batch) for batch in trace.batches([]))
        assert count(trace, groups=4).n_tokens == n - left_out
    assert trace.units.n_clusters == 13


def test_rows_are_left_out_across_batches_as_within_them(tmp_path):
    rng = np.random.default_rng(8)
    opening = text(rng, 40)
    texts = [np.concatenate([opening, text(rng, 10)]) for _ in range(12)]
    document = np.repeat(np.arange(12), 50)
    with TraceWriter(tmp_path / "t", META, shard_rows=33) as writer:
        writer.write(document, states=routed(texts, rng), token=np.concatenate(texts))
    trace = Trace.open(tmp_path / "t")
    token = np.concatenate([batch.columns["token"] for batch in trace.counted(["token"])])
    assert token.tolist() == np.concatenate([texts[0], *(one[40:] for one in texts[1:])]).tolist()


def test_documents_that_are_template_and_nothing_else_add_nothing():
    rng = np.random.default_rng(9)
    copied = text(rng, 60)
    trace = memory_trace([copied] * 12 + [text(rng, 60) for _ in range(8)], rng)
    counts = count(trace, groups=16)
    facts = summarise_units(trace, counts.n_documents, counts.clusters)
    assert (counts.n_documents, counts.n_clusters, counts.n_tokens) == (9, 9, 9 * 60)
    assert (facts.template_tokens, facts.template_documents, facts.template_only) == (60, 12, 11)
    assert "11 documents hold nothing else" in " ".join(facts.sentences())


def test_groups_are_whole_clusters_and_nearly_equal():
    rng = np.random.default_rng(10)
    prompts = [text(rng, 20) for _ in range(64)]
    trace = memory_trace([np.concatenate([p, text(rng, 20)]) for p in prompts for _ in range(8)], rng)
    counts = count(trace, groups=32)
    # By number 0, 8, 16 … the 64 clusters would share 4 of the 32 groups.
    assert (counts.tokens == 2 * 8 * 40).all()
    assert counts.clusters.tolist() == list(range(0, 512, 8))
    group = trace.units.group_of(np.arange(512, dtype=np.int32), 32)
    assert all(len(set(group[first : first + 8])) == 1 for first in range(0, 512, 8))


def test_documents_of_their_own_keep_the_group_that_their_number_gives():
    units = Units.alone([3, 7, 1000, 5])
    assert units.group_of(np.array([1000, 3, 5], np.int32), 4).tolist() == [0, 3, 1]
    far = Units.alone([3, 2_000_000_000])
    assert far.group_of(np.array([2_000_000_000, 3], np.int32), 256).tolist() == [2_000_000_000 % 256, 3]


def test_clusters_of_traces_counted_apart_add_up():
    rng = np.random.default_rng(11)
    texts = [text(rng, 30) for _ in range(10)]
    states = routed(texts, rng)
    document = np.repeat(np.arange(10), 30)
    parts = [slice(0, 150), slice(150, 300)]
    halves = [count(Trace.from_arrays(META, document[p], None, states[p]), groups=4) for p in parts]
    whole = count(Trace.from_arrays(META, document, None, states), groups=4)
    both = halves[0] + halves[1]
    assert both.n_clusters == whole.n_clusters == 10
    assert all((both.tables[key] == whole.tables[key]).all() for key in whole.tables)


def stored(folder, texts, rng, **columns):
    document = np.repeat(np.arange(len(texts)), [len(one) for one in texts])
    with TraceWriter(folder, META) as writer:
        writer.add_documents({"document": list(range(len(texts))), **columns})
        writer.write(document, states=routed(texts, rng), token=np.concatenate(texts))
    return folder


def test_the_store_keeps_the_clusters_and_an_old_store_is_examined(tmp_path):
    rng = np.random.default_rng(12)
    opening, prompts = text(rng, 5), [text(rng, 20) for _ in range(5)]
    texts = [np.concatenate([opening, prompt, text(rng, 9)]) for prompt in prompts for _ in range(3)]
    folder = stored(tmp_path / "t", texts, rng)
    fresh = Trace.open(folder)
    assert fresh.documents.column("cluster").to_pylist() == [3 * (one // 3) for one in range(15)]
    assert fresh.documents.column("template").to_pylist() == [5] * 15
    assert fresh.documents.column("cluster_by").to_pylist() == ["token ids"] * 15
    # As version 0.1 wrote it: without the columns.
    manifest = Manifest.load(folder)
    found = [name for name in FOUND if name in fresh.documents.column_names]
    record = write_arrow(folder / "documents.arrow", fresh.documents.drop_columns(found))
    replace(manifest, documents=record).save(folder)
    assert (folder / MANIFEST).exists()
    for old in (Trace.open(folder), Trace.open(folder, verify=False)):
        for name in ("document", "cluster", "template", "reason"):
            assert getattr(old.units, name).tolist() == getattr(fresh.units, name).tolist()


def test_appending_finds_the_clusters_anew(tmp_path):
    rng = np.random.default_rng(13)
    texts = [text(rng, 40) for _ in range(4)]
    folder = stored(tmp_path / "t", texts, rng)
    with TraceWriter(folder, META, append=True) as writer:
        writer.write(np.full(40, 4), states=routed(texts[1:2], rng), token=texts[1])
    assert clusters(Trace.open(folder)) == [[0], [1, 4], [2], [3]]


def test_what_the_source_says_joins_beside_what_is_found(tmp_path):
    rng = np.random.default_rng(14)
    texts = [text(rng, 40) for _ in range(6)]
    texts[5][:20] = texts[1][:20]
    folder = stored(tmp_path / "t", texts, rng, cluster_label=["a", "b", "a", None, None, None])
    trace = Trace.open(folder)
    assert clusters(trace) == [[0, 2], [1, 5], [3], [4]]
    assert trace.units.reasons == ("source", "token ids")
    # Labels join through each other: 1 and 5 by their beginning, 1 and 3 by the source.
    other = stored(tmp_path / "u", texts, rng, cluster_label=["a", "b", "a", "b", None, None])
    assert clusters(Trace.open(other)) == [[0, 2], [1, 3, 5], [4]]


def test_a_named_column_is_taken_as_it_is(tmp_path):
    rng = np.random.default_rng(15)
    texts = [text(rng, 40) for _ in range(6)]
    texts[5][:20] = texts[1][:20]
    folder = stored(
        tmp_path / "t", texts, rng, domain=["x", "y", "x", "z", "z", "z"], part=[1, 2, None, 4, 5, 6]
    )
    assert clusters(Trace.open(folder, cluster="domain")) == [[0, 2], [1], [3, 4, 5]]
    assert clusters(Trace.open(folder, cluster="document")) == [[0], [1], [2], [3], [4], [5]]
    with pytest.raises(
        TraceError, match=r"cluster column 'session': the documents have no such column; there are"
    ):
        Trace.open(folder, cluster="session")
    with pytest.raises(TraceError, match="cluster column part: no value for document 2"):
        Trace.open(folder, cluster="part")
    with pytest.raises(TraceError, match="template must be one of once, drop, keep, got 'twice'"):
        Trace.open(folder, template="twice")


def test_arrays_in_memory_may_say_their_clusters():
    rng = np.random.default_rng(16)
    texts = [text(rng, 30) for _ in range(6)]
    cluster = np.repeat([5, 5, 9, 9, 9, 2], 30)
    assert clusters(memory_trace(texts, rng, clusters=cluster)) == [[0, 1], [2, 3, 4], [5]]
    with pytest.raises(TraceError, match="row 31: clusters must not change within a document, they do in 1"):
        memory_trace(texts, rng, clusters=np.where(np.arange(180) == 31, 7, cluster))


def test_one_cluster_and_no_documents_have_their_own_words():
    rng = np.random.default_rng(17)
    texts = [text(rng, 30) for _ in range(6)]
    trace = memory_trace(texts, rng, clusters=np.zeros(180, int))
    facts = summarise_units(trace)
    assert "6 documents are 1 independent cluster" in facts.sentences()[0]
    assert "there is no test and no interval" in facts.sentences()[0]
    nothing = Trace(META, pa.table({"document": pa.array([], pa.int32())}), [], 0)
    assert (nothing.units.n_clusters, nothing.n_counted) == (0, 0)
