"""Requests put together from passes, against a scheduler that chunks prompts and caches prefixes as SGLang's does."""

import numpy as np
import pytest

from routestat.traces.importers.sglang_requests import DECODE, EXTEND, MIXED, Pass, requests_of


def one_pass(number, stretches, mode):
    """A pass from (request, first position, rows); tokens say which request they are of."""
    token = np.concatenate([np.full(n, request) for request, _, n in stretches])
    position = np.concatenate([first + np.arange(n) for _, first, n in stretches])
    experts = np.zeros((len(token), 1, 1), np.int8)
    return Pass(0, number, token, position, [n for *_, n in stretches], mode, experts)


def owners(found):
    """The true requests of every document."""
    return [sorted({int(t) for _, token, *_ in one.rows for t in token}) for one in found.requests]


def passes_of(*steps):
    return [one_pass(number, stretches, mode) for number, (stretches, mode) in enumerate(steps)]


def test_a_cached_prefix_as_long_as_a_running_request_is_a_new_request():
    found = requests_of(
        passes_of(
            ([(1, 0, 64)], EXTEND), ([(2, 64, 30)], EXTEND), ([(1, 64, 1), (2, 94, 1)], DECODE)
        )
    )  # fmt: skip
    assert owners(found) == [[1], [2]]
    assert (found.n_ambiguous, [len(one.rows) for one in found.requests]) == (0, [2, 2])


@pytest.mark.parametrize("mode", [DECODE, MIXED])
def test_a_chunk_is_recognised_by_a_full_pass_and_its_next_rows(mode):
    tail = (
        ([(2, 12, 1), (1, 3, 1)], DECODE) if mode == DECODE else ([(3, 0, 4), (2, 12, 1), (1, 3, 1)], MIXED)
    )
    found = requests_of(passes_of(([(1, 0, 3), (2, 0, 5)], EXTEND), ([(2, 5, 7)], EXTEND), tail))
    assert owners(found)[:2] == [[1], [2]]
    assert found.n_ambiguous == 0


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([([(1, 0, 8)], EXTEND), ([(2, 8, 4)], EXTEND)], "nothing follows"),
        ([([(1, 0, 8)], EXTEND), ([(3, 0, 9)], EXTEND), ([(2, 8, 4)], EXTEND)], "another pass came between"),
        ([([(2, 0, 3), (1, 0, 5)], EXTEND), ([(3, 0, 2), (4, 5, 6)], EXTEND)], "not the first of its pass"),
        ([([(1, 0, 6), (2, 0, 3)], EXTEND), ([(4, 6, 6)], EXTEND), ([(4, 12, 1)], DECODE)], "not the last"),
        ([([(1, 0, 6)], EXTEND), ([(1, 6, 1)], DECODE), ([(2, 7, 5)], EXTEND)], "was decoding"),
    ],
)
def test_where_it_is_no_chunk_or_ambiguous_requests_stay_apart(steps, why):
    found = requests_of(passes_of(*steps))
    assert all(len(one) == 1 for one in owners(found)), why
    ambiguous = why == "nothing follows"
    assert (found.n_ambiguous > 0) == ambiguous
    assert len({one.label for one in found.requests if one.label}) == ambiguous


def scheduled(rng, cache, n=12, budget=256):
    """Passes of a scheduler: one chunked request at a time, cached prefixes as long as what is running."""
    passes, running, cut, waiting = [], [], None, list(range(1, n + 1))
    expects, left = {}, {request: int(rng.integers(2, 6)) for request in waiting}
    length = {request: int(rng.integers(30, 640)) for request in waiting}
    while waiting or running or cut:
        stretches, free = [], budget
        while free and (cut or waiting) and (cut or rng.random() < 0.5):
            request = cut or waiting.pop(0)
            if request not in expects:
                cached = [expects[r] for r in running if expects[r] < length[request]]
                expects[request] = int(rng.choice(cached)) if cached and rng.random() < cache else 0
            rows = min(free, length[request] - expects[request])
            stretches.append((request, expects[request], rows))
            expects[request] += rows
            free -= rows
            cut = request if expects[request] < length[request] else None
            if cut is None:
                running.append(request)
        if stretches:
            passes.append((stretches, EXTEND))
        elif running:
            passes.append(([(request, expects[request], 1) for request in running], DECODE))
            for request in list(running):
                expects[request] += 1
                left[request] -= 1
                if not left[request]:
                    running.remove(request)
    return passes_of(*passes)


@pytest.mark.parametrize(("cache", "most_ambiguous"), [(0.0, 0.05), (0.7, 0.25)])
def test_prompts_of_a_scheduler_are_never_merged(cache, most_ambiguous):
    """Rows of a decode pass that fit several requests are guesses, and counted; a prompt's rows are never guessed."""
    rng = np.random.default_rng(0)
    prompts = merged = documents = ambiguous = guessed = 0
    for _ in range(150):
        found = requests_of(scheduled(rng, cache))
        of_prompts = [
            {int(t) for _, token, _, decoded in one.rows if not decoded for t in token}
            for one in found.requests
        ]
        prompts += sum(len(one) > 1 for one in of_prompts)
        merged += sum(len(one) > 1 for one in owners(found))
        documents += len(found.requests)
        ambiguous += found.n_ambiguous
        guessed += found.n_guessed
    assert prompts == 0
    assert merged <= guessed
    assert 1800 <= documents <= 1800 + ambiguous + guessed
    assert ambiguous < most_ambiguous * documents
