import numpy as np
import pytest

from routestat import RoutestatError, Trace, TraceMeta, TraceWriter, count
from routestat.traces.document_selection import SelectedDocuments, with_common_units
from routestat.traces.metadata import routers_like
from routestat.traces.pairing.document_contents import documents_of, documents_of_domain
from routestat.traces.pairing.document_matching import pair_documents

META = TraceMeta(routers_like((0, 1), 8, 2))


def trace(folder, texts, names=None, domains=None, seed=0, rows=1 << 20):
    """A store whose documents have these token ids."""
    rng = np.random.default_rng(seed)
    document = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    states = rng.integers(0, 28, (len(document), 2)).astype(np.uint8)
    with TraceWriter(folder, META, shard_rows=rows) as writer:
        table = {"document": list(range(len(texts)))}
        table |= {"name": names} if names else {}
        table |= {"domain": domains} if domains else {}
        writer.add_documents(table)
        writer.write(document, states=states, token=np.concatenate(texts))
    return Trace.open(folder)


TEXTS = [np.arange(5), np.arange(7), np.arange(5), np.arange(3) + 40]


def test_selected_rows_are_those_of_the_documents_under_their_new_numbers(tmp_path):
    opened = trace(tmp_path / "a", TEXTS, domains=["law", "code", "law", None], rows=4)
    documents = documents_of_domain(documents_of(opened), "law", "--domain-a")
    chosen = SelectedDocuments(opened, documents, {0: 1, 2: 0, 1: 9})
    assert (chosen.n_tokens, chosen.documents.column("document").to_pylist()) == (10, [1, 0])
    batches = list(chosen.batches(["L00"]))
    got = np.concatenate([batch.document for batch in batches])
    assert got.tolist() == [1] * 5 + [0] * 5
    rows = np.concatenate([batch.columns["L00"] for batch in opened.batches(["L00"])])
    kept = np.r_[0:5, 12:17]
    assert (np.concatenate([batch.columns["L00"] for batch in batches]) == rows[kept]).all()
    # The two are copies of one text, so they are one cluster and in one group.
    assert count(chosen, groups=4).tokens.tolist() == [10]
    assert [d.number for d in documents_of(chosen.first(1))] == [0]
    with pytest.raises(RoutestatError, match="there are code, law"):
        documents_of_domain(documents_of(opened), "poetry", "--domain-a")


def test_paired_selections_share_clusters_and_template_and_stay_side_by_side(tmp_path):
    rng = np.random.default_rng(0)
    opening, texts = rng.integers(500, size=10), [rng.integers(500, size=40) for _ in range(8)]
    texts[3][:20] = texts[0][:20]
    whole = [np.concatenate([opening, text]) for text in texts]
    # B lacks two documents, states itself that two others belong together, and has one more without the template.
    kept = [0, 1, 2, 3, 4, 6]
    label = ["a", None, None, None, "a", None, None]
    a = trace(tmp_path / "a", whole)
    other = [*(whole[place] for place in kept), rng.integers(500, size=30)]
    document = np.repeat(np.arange(len(other)), [len(one) for one in other])
    with TraceWriter(tmp_path / "b", META) as writer:
        writer.add_documents({"document": list(range(len(other))), "cluster_label": label})
        states = rng.integers(0, 28, (len(document), 2)).astype(np.uint8)
        writer.write(document, states=states, token=np.concatenate(other))
    b = Trace.open(tmp_path / "b")
    documents = documents_of(a), documents_of(b)
    pairing = pair_documents(*documents, "auto")
    assert pairing.n_common == 6
    both = with_common_units(
        SelectedDocuments(a, documents[0], pairing.numbers_a),
        SelectedDocuments(b, documents[1], pairing.numbers_b),
    )
    # A found 0 and 3 to share their text, B said it of 0 and 4: all three are one, in both.
    for one in both:
        cluster = dict(zip(one.units.document.tolist(), one.units.cluster.tolist(), strict=True))
        assert cluster[0] == cluster[3] == cluster[4]
        assert len({cluster[number] for number in (0, 1, 2, 5)}) == 4
    first, second = (
        np.concatenate([batch.document for batch in one.first(6).counted(["L00"])]) for one in both
    )
    assert first.tolist() == second.tolist() == np.repeat(range(6), [50, *[40] * 5]).tolist()
