"""In any arrangement a token of a document has the routing that it has when the document runs alone."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
from capture.forward import Runner, Segment, batches
from tests.capture.batches import LENGTHS, require_equal, segments_of


def test_the_single_runs_are_the_token_lists(alone, token_lists):
    for i, (rows, text) in enumerate(zip(alone, token_lists, strict=True)):
        assert rows.token.tolist() == text
        assert rows.position.tolist() == list(range(len(text)))
        assert set(rows.document.tolist()) == {i}
        assert not rows.decode.any()


def test_a_batch_padded_on_the_right(model, sites, token_lists, alone):
    require_equal(Runner(model, sites, pad=0).run(segments_of(token_lists)), alone)


GREEDY = {"max_new_tokens": 8, "do_sample": False, "disable_compile": True}


ARRANGEMENTS = {
    "dynamic cache": {},
    "static cache": {"cache_implementation": "static"},
    "chunked prefill": {"prefill_chunk_size": 6},
    "no cache": {"use_cache": False},
}


@pytest.fixture(scope="module")
def generated_alone(model, sites, token_lists):
    """Each prompt continued on its own: prefill of the prompt, then eight sampled and seven forwarded tokens."""
    return [
        Runner(model, sites, pad=0, generation=GREEDY).run([Segment(i, text)])
        for i, text in enumerate(token_lists)
    ]


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_generation_in_a_batch_is_generation_alone(model, sites, token_lists, generated_alone, arrangement):
    runner = Runner(model, sites, pad=0, generation={**GREEDY, **ARRANGEMENTS[arrangement]})
    if arrangement == "chunked prefill":
        # The library chunks a prompt only where it is not padded.
        for i, text in enumerate(token_lists):
            require_equal(runner.run([Segment(i, text)]), [generated_alone[i]])
        return
    rows = runner.run(segments_of(token_lists))
    require_equal(rows, generated_alone)
    for i, length in enumerate(LENGTHS):
        of_document = rows.decode[rows.document == i]
        # Eight sampled, the last never forwarded.
        assert of_document.tolist() == [False] * length + [True] * 7


def test_generation_equals_prefill_of_its_own_tokens(model, sites, generated_alone):
    for rows in generated_alone:
        again = Runner(model, sites, pad=0).run([Segment(int(rows.document[0]), rows.token.tolist())])
        require_equal(again, [rows])


def test_nothing_is_recorded_after_the_end_of_a_text(model, sites, token_lists, generated_alone):
    """The third token that document 1 generates is declared the end; it stops there, its neighbours go on."""
    end = int(generated_alone[1].token[LENGTHS[1] + 2])
    runner = Runner(model, sites, pad=0, end_tokens=[end], generation=GREEDY)
    singles = [runner.run([Segment(i, text)]) for i, text in enumerate(token_lists)]
    assert len(singles[1]) <= LENGTHS[1] + 2
    require_equal(runner.run(segments_of(token_lists)), singles)


@pytest.mark.parametrize("arrangement", [{"num_beams": 3}, {"num_beams": 3, "use_cache": False}])
def test_beam_search_is_replayed_and_its_steps_are_traced_through_the_beams(
    model, sites, token_lists, arrangement
):
    runner = Runner(model, sites, pad=0, generation={**GREEDY, **arrangement}, replayed=True)
    rows = runner.run(segments_of(token_lists))
    assert runner.compared == len(rows) * len(sites)
    # In fp32 a replay chooses as the generation did, if each step's row was the right beam's.
    assert runner.flips == 0
    require_equal(
        Runner(model, sites, pad=0).run([Segment(0, rows.token[rows.document == 0].tolist())]),
        [
            type(rows)(
                *(getattr(rows, n)[rows.document == 0] for n in ("document", "position", "token", "decode")),
                {key: values[rows.document == 0] for key, values in rows.columns.items()},
            )
        ],
    )
    assert rows.decode.sum() == 4 * 7


def test_assisted_generation_is_replayed_and_rejected_guesses_leave_no_row(model, sites):
    text = [5, 6, 7, 8, 9, 5, 6, 7, 8, 9, 5, 6]
    runner = Runner(model, sites, pad=0, generation={**GREEDY, "prompt_lookup_num_tokens": 3}, replayed=True)
    rows = runner.run([Segment(0, text)])
    greedy = Runner(model, sites, pad=0, generation=GREEDY).run([Segment(0, text)])
    require_equal(rows, [greedy])
    assert (runner.flips, runner.compared) == (0, len(rows) * len(sites))


def test_compiled_generation_is_replayed_without_a_flip_rate(model, sites, token_lists, generated_alone):
    generation = {**GREEDY, "cache_implementation": "static", "disable_compile": False}
    runner = Runner(model, sites, pad=0, generation=generation, replayed=True)
    require_equal(runner.run(segments_of(token_lists)), generated_alone)
    assert runner.compared == 0


def test_windows_after_a_token_that_is_not_recorded(model, sites, token_lists):
    text = token_lists[2]
    whole = [
        Segment(7, [1, *text[start : start + 8]], first=start, skip=1) for start in range(0, len(text), 8)
    ]
    rows = Runner(model, sites, pad=0).run(whole)
    assert rows.token.tolist() == text
    assert rows.position.tolist() == list(range(19))
    single = Runner(model, sites, pad=0).run([Segment(7, [1, *text[8:16]])])
    np.testing.assert_array_equal(rows.experts[sites[0].name][8:16], single.experts[sites[0].name][1:])


def test_batches_keep_the_order():
    assert [len(b) for b in batches(iter(segments_of([[1]] * 7)), 3)] == [3, 3, 1]
