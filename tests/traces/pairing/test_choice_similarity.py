"""One text in two traces is recognised by its choices; other texts are not taken for it, however narrow the router."""

import numpy as np
import pytest

from routestat import Alphabet, Trace, TraceMeta
from routestat.traces.metadata import routers_like
from routestat.traces.pairing.choice_similarity import pair_by_choices
from routestat.traces.pairing.document_contents import documents_of


def model(rng, n_experts, top_k, n_layers, lean=1.5):
    """Logits ``[token, layer, expert]`` of 300 tokens: choices follow the token, experts have a load."""
    load = rng.normal(0, 0.5, (n_layers, n_experts))
    return load + rng.normal(0, lean, (300, n_layers, n_experts))


def routed(rng, logits, text, top_k, noise=0.7):
    """Choices ``[row, layer, slot]``: the token's, and what precedes it."""
    said = logits[text]
    context = np.cumsum(rng.normal(0, 0.3, said.shape), axis=0) * 0.3
    return np.argsort(-(said + context + rng.normal(0, noise, said.shape)), axis=2)[..., :top_k]


def flipped(rng, rows, share, n_experts):
    """The same with some choices made anew."""
    again = np.argsort(rng.random((*rows.shape[:2], n_experts)), axis=2)[..., : rows.shape[2]]
    return np.where((rng.random(rows.shape[:2]) < share)[..., None], again, rows)


def traced(parts, n_experts):
    meta = TraceMeta(routers_like(range(parts[0].shape[1]), n_experts, parts[0].shape[2]))
    states = Alphabet(n_experts, parts[0].shape[2]).rank(np.concatenate(parts))
    return Trace.from_arrays(meta, np.repeat(np.arange(len(parts)), [len(p) for p in parts]), None, states)


def found(a, b, n_experts):
    traces = traced(a, n_experts), traced(b, n_experts)
    routers = list(zip(traces[0].meta.routers, traces[1].meta.routers, strict=True))
    return [
        (one.a, one.b, one.skip_a, one.skip_b, one.rows)
        for one in pair_by_choices(traces, routers, tuple(map(documents_of, traces)))
    ]


@pytest.mark.parametrize(("n_experts", "top_k"), [(4, 1), (8, 2), (64, 4)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_the_same_texts_are_found_with_flips_and_rows_missing(n_experts, top_k, share):
    rng = np.random.default_rng(n_experts)
    logits = model(rng, n_experts, top_k, 6)
    rows = [routed(rng, logits, rng.integers(0, 300, n), top_k) for n in rng.integers(60, 200, 20)]
    order = rng.permutation(20)
    again = [flipped(rng, rows[i], share, n_experts) for i in order]
    # Engines leave out the last row; here also the first of the first document.
    again = [part[int(place == 0) : -1] for place, part in enumerate(again)]
    pairs = found(rows, again, n_experts)
    assert len(pairs) >= 19
    for a, b, skip_a, skip_b, n in pairs:
        assert order[b] == a
        assert (skip_a, skip_b, n) == (int(b == 0), 0, len(again[b]))


@pytest.mark.parametrize(("n_experts", "top_k", "n_layers"), [(4, 1, 1), (4, 1, 4), (8, 2, 4), (64, 6, 8)])
def test_other_texts_of_the_same_model_are_no_pairs(n_experts, top_k, n_layers):
    """Short texts of a router that follows the token, with passages in common; and texts that dwell."""
    wrong = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        logits = model(rng, n_experts, top_k, n_layers, lean=4.0)
        passages = [rng.integers(0, 300, 12) for _ in range(3)]
        texts = [dwelling_text(rng, passages) for _ in range(80)]
        parts = [routed(rng, logits, text, top_k, 0.1) for text in texts]
        wrong += len(found(parts[:40], parts[40:], n_experts))
    assert wrong == 0


def dwelling_text(rng, passages):
    """Sixty tokens, each once to three times, with some of the passages."""
    words = [passages[i] if rng.random() < 0.3 else rng.integers(0, 300, 12) for i in rng.integers(0, 3, 5)]
    return np.repeat(np.concatenate(words), rng.integers(1, 4))


def test_samples_of_one_prompt_are_no_pairs_and_the_right_sample_is_found():
    rng = np.random.default_rng(3)
    logits = model(rng, 8, 2, 4)
    prompts = [routed(rng, logits, rng.integers(0, 300, 80), 2) for _ in range(6)]

    def samples():
        return [
            np.concatenate([one, routed(rng, logits, rng.integers(0, 300, 40), 2)])
            for one in prompts
            for _ in range(3)
        ]

    a, b = samples(), samples()
    assert found(a, b, 8) == []
    assert [pair[:2] for pair in found(a, [*b, a[4], a[7]], 8)] == [(4, 18), (7, 19)]


@pytest.mark.parametrize(("n_experts", "top_k", "n_layers"), [(8, 1, 2), (8, 1, 6), (8, 2, 4), (64, 6, 3)])
@pytest.mark.parametrize("own", [6, 20])
def test_samples_that_hardly_differ_are_no_pairs(n_experts, top_k, n_layers, own):
    """Long prompts, short answers: only the last rows are of another text."""
    rng = np.random.default_rng(n_experts + own)
    logits = model(rng, n_experts, top_k, n_layers, lean=4.0)
    prompts = [rng.integers(0, 300, n) for n in rng.integers(30, 200, 12)]

    def sample(prompt):
        text = np.concatenate([prompt, rng.integers(0, 300, own)])
        return np.argsort(-logits[text], axis=2)[..., :top_k]

    a, b = [sample(one) for one in prompts], [sample(one) for one in prompts]
    assert found(a, b, n_experts) == []
    again = [flipped(rng, one, 0.03, n_experts) for one in a]
    assert [pair[:2] for pair in found(a, again, n_experts)] == [(i, i) for i in range(12)]


def test_long_documents_of_which_only_the_middle_differs_are_no_pairs():
    rng = np.random.default_rng(5)
    logits = model(rng, 8, 2, 4)
    texts = [rng.integers(0, 300, 2600) for _ in range(4)]
    others = [
        np.concatenate([text[:600], rng.integers(0, 300, 1400), text[2000:]]) if place % 2 else text
        for place, text in enumerate(texts)
    ]
    a, b = ([np.argsort(-logits[one], axis=2)[..., :2] for one in some] for some in (texts, others))
    b = [flipped(rng, one, 0.05, 8)[1:] for one in b]
    assert [pair[:2] for pair in found(a, b, 8)] == [(0, 0), (2, 2)]


def test_copies_go_first_with_first_and_constant_documents_prove_nothing():
    rng = np.random.default_rng(4)
    logits = model(rng, 8, 2, 4)
    one = routed(rng, logits, rng.integers(0, 300, 80), 2)
    assert [pair[:2] for pair in found([one] * 6, [one] * 5, 8)] == [(i, i) for i in range(5)]
    stuck = np.tile([[0, 1]], (80, 4, 1))
    assert found([stuck] * 3, [stuck] * 3, 8) == []
