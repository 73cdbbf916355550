"""The routing profile: counted by hand, and against a slow writer of the same rows."""

from dataclasses import replace

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.serving.exports.cache_profile import TOKENS, positions, profile_rows
from routestat.serving.exports.registry import export_of
from routestat.traces.metadata import Router
from tests.serving.exports.cases import TWO_IN_ONE, case, steps_of, with_routers
from tests.serving.exports.readers import Model, read_cache_profile

PROMPT, TEXT = "prefill", "decode"


def profile_of(steps):
    exported = with_routers(steps.routers, 16, steps=steps)
    return export_of("cache-profile").files(exported)["cache-profile.csv"]


def slow_rows(steps, position):
    """Return the rows one token and layer after another."""
    rows = []
    for token, at in enumerate(position):
        for place, router in enumerate(steps.routers):
            experts = tuple(int(e) for e in steps.choices[token, place] if e >= 0)
            if experts:
                rows.append((at, router.layer, experts))
    return rows


def test_prompts_end_at_minus_one_and_text_counts_from_zero():
    phases = [PROMPT] * 3 + [TEXT] * 2 + [PROMPT] + [TEXT] * 2
    steps = steps_of([5, 3], phases, layers=(1, 12))
    position = [-3, -2, -1, 0, 1, -1, 0, 1]
    assert positions(steps).tolist() == position
    rows = read_cache_profile(profile_of(steps), Model(13, 8, (1, 12)))
    assert rows == slow_rows(steps, position)
    assert [(at, layer) for at, layer, _ in rows[:4]] == [(-3, 1), (-3, 12), (-2, 1), (-2, 12)]


def test_a_line_is_this():
    steps = steps_of([1, 1], [PROMPT, TEXT], layers=(5,))
    a, b = steps.choices[:, 0].tolist()
    assert profile_of(steps).decode() == f"-1,5,{a[0]},{a[1]}\n0,5,{b[0]},{b[1]}\n"


def test_chunks_of_prefill_change_nothing():
    phases = [PROMPT] * 4 + [TEXT] + [PROMPT] * 3 + [TEXT]
    assert profile_of(steps_of([5, 4], phases)) == profile_of(steps_of([5, 4], phases, chunk=3))


def test_the_turns_of_a_conversation_count_on():
    phases = [PROMPT, PROMPT, TEXT, TEXT, PROMPT, TEXT]
    assert positions(steps_of([6], phases)).tolist() == [-3, -2, 0, 1, -1, 2]


def test_a_missing_choice_has_no_line():
    steps = steps_of([2], [PROMPT, TEXT], missing=[(0, 2)])
    rows = read_cache_profile(profile_of(steps), Model(8, 8, (1, 2)))
    assert [(at, layer) for at, layer, _ in rows] == [(-1, 1), (0, 1), (0, 2)]


def test_many_tokens_are_written_in_parts():
    steps = steps_of([3, TOKENS, 5], n_experts=128)
    parts = list(profile_rows(steps))
    assert len(parts) == 2
    position = [*range(3), *range(TOKENS), *range(5)]
    assert read_cache_profile(b"".join(parts), Model(3, 128, (1, 2))) == slow_rows(steps, position)


def test_without_generated_tokens_all_count_as_such_with_a_caution():
    export = export_of("cache-profile")
    prompts = steps_of([3, 2])
    assert positions(prompts).tolist() == [0, 1, 2, 0, 1]
    (note,) = export.notes(with_routers(prompts.routers, 3, steps=prompts))
    assert note.startswith("the trace has no generated tokens: its tokens are numbered as if")
    text = steps_of([2, 2], [PROMPT, TEXT, PROMPT, PROMPT])
    assert positions(text).tolist() == [-1, 0, -2, -1]
    assert export.notes(with_routers(text.routers, 3, steps=text)) == ()


def test_a_batch_is_refused():
    with pytest.raises(RoutestatError, match="documents one after another, got a batch of 2"):
        profile_of(steps_of([2, 2], batch=2))


def test_no_tokens_are_refused():
    with pytest.raises(RoutestatError, match="expected the tokens of a trace, got none"):
        export_of("cache-profile").files(case()[0])


def test_two_routers_in_one_layer_are_refused():
    with pytest.raises(RoutestatError, match="several in layer 1"):
        export_of("cache-profile").files(
            with_routers(TWO_IN_ONE, 2, steps=replace(steps_of([2]), routers=TWO_IN_ONE))
        )


def test_routers_may_choose_different_numbers_of_experts():
    steps = steps_of([2], [TEXT, TEXT])
    choices = steps.choices.copy()
    choices[:, 1, 1] = -1
    narrow = type(steps)(
        **{**vars(steps), "choices": choices, "routers": (steps.routers[0], Router(2, 8, 1))}
    )
    rows = read_cache_profile(b"".join(profile_rows(narrow)), Model(3, 8, (1, 2)))
    assert [len(experts) for *_, experts in rows] == [2, 1, 2, 1]
    assert np.array([experts[0] for *_, experts in rows]).tolist() == choices[:, :, 0].ravel().tolist()
