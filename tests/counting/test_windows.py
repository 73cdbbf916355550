"""Frequent windows agree with a count in plain Python; a missing choice is on no window."""

import numpy as np
import pytest

from routestat.counting.document_sample import take_sample
from routestat.counting.windows import LONGEST, count_windows, take_any, window_rows
from routestat.traces import synthetic
from routestat.traces.store import Trace
from tests.oracle import windows_oracle


def sampled(top_k=1, n_experts=4, layers=4, seed=0, missing=0.0):
    rng = np.random.default_rng(seed)
    made = synthetic.chain(
        coupling=0.7,
        rng=rng,
        n_experts=n_experts,
        top_k=top_k,
        layers=layers,
        documents=rng.integers(20, 80, 24),
    )
    if missing:
        made = synthetic.with_missing(made, missing, rng)
    trace: Trace = synthetic.to_trace(made)
    return take_sample(trace, groups=12), made


def tokens_of(sample, made, states):
    """(group, document, choices by layer) of every row."""
    alphabet = made.alphabet
    found = []
    for row, (group, document) in enumerate(zip(sample.group, sample.document, strict=True)):
        choices = []
        for router in sample.routers:
            state = int(sample.columns[router.name][row])
            if state >= alphabet.size:
                choices.append(set())
            else:
                choices.append({state} if states == "subset" else set(alphabet.unrank(state).tolist()))
        found.append((int(group), int(document), choices))
    return found


@pytest.mark.parametrize(
    ("states", "top_k", "orders"),
    [
        ("subset", 1, (1, 1, 1)),
        ("subset", 1, (1, 2, 2)),
        ("subset", 1, (0, 0, 0)),
        ("subset", 1, (1, 0, 2)),
        ("expert", 2, (1, 1, 1)),
        ("expert", 2, (1, 2, 1)),
    ],
)
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_windows_agree_with_a_plain_count(states, top_k, orders, missing):
    sample, made = sampled(top_k=top_k, missing=missing)
    choosing = np.zeros(12, bool)
    choosing[[0, 3, 5, 8]] = True
    least = (4, 3)
    rows = window_rows(sample, states, choosing)
    found = count_windows(rows, orders, least_tokens=least[0], least_documents=least[1], most_steps=10**9)
    assert found.least_tokens == least[0]
    tokens = tokens_of(sample, made, states)
    chosen = set(np.flatnonzero(choosing).tolist())
    expected = {}
    for start, word in windows_oracle.frequent(tokens, chosen, least):
        free = any(orders[start + place - 1] < place for place in range(1, len(word)))
        if len(word) >= 3 and free:
            own = windows_oracle.measure(tokens, chosen, start, word, orders)
            if own["tokens"]:
                expected[start, word] = own
    got = {}
    for at in range(len(found)):
        word = found.choices[at]
        assert (word[found.length[at] :] == -1).all()
        got[int(found.start[at]), tuple(word[: found.length[at]].tolist())] = at
    assert len(expected) >= 5
    assert set(got) == set(expected)
    for key, own in expected.items():
        for name, value in own.items():
            assert getattr(found, name)[got[key]] == pytest.approx(value, rel=1e-9, abs=1e-9), (key, name)
    n = sum(group not in chosen for group, _, _ in tokens)
    assert found.n_tokens == (len(tokens) - n, n)
    assert found.group_tokens.sum() == n


@pytest.mark.parametrize(("states", "top_k"), [("subset", 1), ("expert", 2)])
def test_the_rows_on_windows_are_those_that_take_one(states, top_k):
    sample, made = sampled(top_k=top_k, missing=0.05)
    choosing = np.arange(12) % 3 == 0
    rows = window_rows(sample, states, choosing)
    words = [(0, (1, 2)), (1, (0, 1, 3)), (2, (2, 0)), (0, (3, 3, 1, 0))]
    start = np.array([at for at, _ in words])
    choices = np.full((len(words), LONGEST), -1)
    for at, (_, word) in enumerate(words):
        choices[at, : len(word)] = word
    on = take_any(rows, start, choices)
    tokens = [one for one in tokens_of(sample, made, states) if not choosing[one[0]]]
    # Rows stand by group and document, in their own order inside a document.
    tokens.sort(key=lambda one: one[:2])
    plain = [
        any(all(choice in choices[at + i] for i, choice in enumerate(word)) for at, word in words)
        for _, _, choices in tokens
    ]
    assert 0 < sum(plain) < len(plain)
    assert on.tolist() == plain


def test_more_tokens_are_asked_for_where_too_many_windows_would_be_tested():
    sample, _ = sampled(layers=5)
    rows = window_rows(sample, "subset", np.arange(12) % 3 == 0)
    every = count_windows(rows, [1] * 4, least_tokens=2, least_documents=1)
    few = count_windows(rows, [1] * 4, least_tokens=2, least_documents=1, most_windows=len(every) // 4)
    assert every.least_tokens == 2
    assert few.least_tokens > 2
    assert 0 < len(few) <= len(every) // 4
    kept = {(*word,) for word in np.column_stack([few.start, few.choices]).tolist()}
    assert kept < {(*word,) for word in np.column_stack([every.start, every.choices]).tolist()}


def test_two_layers_have_no_window():
    sample, _ = sampled(layers=2)
    assert len(count_windows(window_rows(sample, "subset", np.arange(12) % 3 == 0), [1], least_tokens=2)) == 0
