"""The search for shared beginnings against a comparison of every document with every other."""

import itertools

import numpy as np
import pytest

from routestat.traces.batch import Batch
from routestat.traces.clusters.document_prefixes import PrefixCollector
from routestat.traces.clusters.shared_prefixes import (
    LEAST_DOCUMENTS,
    SHARED_ROWS,
    SHORT_ROWS,
    connected_parts,
    find_shared_prefixes,
)
from routestat.traces.metadata import TraceMeta, routers_like

META = TraceMeta(routers_like((0,), 8, 2))


def read(texts, rows=1 << 20):
    """Beginnings of texts of token ids, handed over in batches of so many rows."""
    document = np.repeat(np.arange(len(texts), dtype=np.int32), [len(text) for text in texts])
    token = np.concatenate(texts).astype(np.int32)
    reader = PrefixCollector(META, len(texts), "token ids")
    for start in range(0, len(document), rows):
        part = slice(start, start + rows)
        reader.add(Batch(document[part], np.zeros_like(document[part]), {"token": token[part]}))
    return reader.finished()


def in_common(one, other):
    """Tokens at the beginning of both, counted one by one."""
    same = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        same += 1
    return same


def template_of(texts):
    """The longest beginning that more than half of the texts, and at least six, share; what each has of it."""
    need = max(len(texts) // 2 + 1, LEAST_DOCUMENTS)
    beginnings = [text[:n] for text in texts for n in range(1, len(text) + 1)]
    shared = [one for one in beginnings if sum(in_common(one, text) == len(one) for text in texts) >= need]
    best = max(shared, key=len, default=[])
    # A part of it that is a single token is chance.
    return [n if n in (0, len(best)) or n > 1 else 0 for n in (in_common(best, text) for text in texts)]


def parts_of(texts, template):
    """Sets of texts that share enough beyond the template, through each other."""
    part = list(range(len(texts)))
    for i, j in itertools.combinations(range(len(texts)), 2):
        own = min(len(texts[i]) - template[i], len(texts[j]) - template[j])
        beyond = in_common(texts[i], texts[j]) - max(template[i], template[j])
        longer = max(len(texts[i]) - template[i], len(texts[j]) - template[j])
        short = any(beyond >= rows and longer <= 5 * rows for rows in SHORT_ROWS)
        copy = len(texts[i]) == len(texts[j]) == in_common(texts[i], texts[j])
        if own > 0 and (beyond >= SHARED_ROWS or short or copy):
            part = [part[i] if one == part[j] else one for one in part]
    return {frozenset(np.flatnonzero(np.array(part) == one).tolist()) for one in part}


def grown(rng, n):
    """Texts that leave each other at random places; half of the sets have a beginning that all start from."""
    texts = [rng.integers(1000, size=rng.integers(10, 200))]
    opening = rng.integers(1000, size=int(rng.integers(2, 30)) * int(rng.integers(2)))
    for _ in range(n - 1):
        old = texts[rng.integers(len(texts))]
        kept = int(rng.integers(len(old) + 1)) if rng.random() < 0.5 else 0
        texts.append(
            np.concatenate([old[:kept], rng.integers(1000, size=rng.integers(0 if kept else 1, 150))])
        )
    return [np.concatenate([opening, text]) if rng.random() < 0.9 else text for text in texts]


@pytest.mark.parametrize("seed", range(40))
def test_the_search_finds_what_comparing_all_pairs_finds(seed):
    rng = np.random.default_rng(seed)
    texts = [text for text in grown(rng, int(rng.integers(7, 30))) if len(text)]
    template = template_of(texts)
    found = find_shared_prefixes(read(texts, rows=int(rng.integers(1, 200))))
    assert found.template.tolist() == template
    bonded = {
        frozenset(np.flatnonzero(found.bond == one).tolist()) for one in set(found.bond.tolist()) - {-1}
    }
    assert bonded == {one for one in parts_of(texts, template) if len(one) > 1}


def test_labels_of_any_kind_join_through_each_other():
    first, second = np.array([5, 5, -1, -1, 7, -1]), np.array([-1, 0, 0, -1, -1, -1])
    assert connected_parts(first, second).tolist() == [0, 0, 0, 3, 4, 5]
    assert connected_parts(first).tolist() == [0, 0, 2, 3, 4, 5]
    assert connected_parts(np.empty(0, np.int64)).tolist() == []


def test_long_documents_are_kept_in_part_and_counted_whole(monkeypatch):
    monkeypatch.setattr("routestat.traces.clusters.document_prefixes.ROWS", 0)
    monkeypatch.setattr("routestat.traces.clusters.document_prefixes.LEAST_ROWS", 30)
    texts = [np.arange(100) + 1000 * n for n in range(3)]
    for rows in (7, 30, 1000):
        found = read(texts, rows)
        assert (found.length.tolist(), found.kept.tolist()) == ([100] * 3, [30] * 3)
        assert (found.keys[0] == read([text[:30] for text in texts]).keys[0]).all()
