"""Whatever the arrangement, a token of a document has the routing it has when the document runs alone."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
from transformers import DynamicCache

from capture.forward import Runner, Segment, batches
from capture.hooks import Recorder
from capture.positions import BatchBuffer, Layout, extend, flip_rate, lay_out
from capture.routers import discover
from routestat.errors import RoutestatError
from tests.capture.families import build

LENGTHS = (13, 7, 19, 4)


@pytest.fixture(scope="module", params=["tiny-mixtral", "qwen3_moe"])
def model(request):
    return request.getfixturevalue("tiny") if request.param == "tiny-mixtral" else build("qwen3_moe")


@pytest.fixture(scope="module")
def sites(model):
    return discover(model)


@pytest.fixture(scope="module")
def texts(model):
    rng = np.random.default_rng(3)
    return [rng.integers(3, 60, n).tolist() for n in LENGTHS]


@pytest.fixture(scope="module")
def alone(model, sites, texts):
    """Every document on its own, without padding."""
    return [Runner(model, sites, pad=0).run([Segment(i, text)]) for i, text in enumerate(texts)]


def segments_of(texts):
    return [Segment(i, text) for i, text in enumerate(texts)]


def require_equal(rows, singles):
    """Rows are those of the single runs, one after the other."""
    for name in ("document", "position", "token"):
        np.testing.assert_array_equal(
            getattr(rows, name), np.concatenate([getattr(one, name) for one in singles])
        )
    for name, experts in rows.experts.items():
        np.testing.assert_array_equal(
            np.sort(experts, axis=1),
            np.sort(np.concatenate([one.experts[name] for one in singles]), axis=1),
            name,
        )


def test_the_single_runs_are_the_texts(alone, texts):
    for i, (rows, text) in enumerate(zip(alone, texts, strict=True)):
        assert rows.token.tolist() == text
        assert rows.position.tolist() == list(range(len(text)))
        assert set(rows.document.tolist()) == {i}
        assert not rows.decode.any()


def test_a_batch_padded_on_the_right(model, sites, texts, alone):
    require_equal(Runner(model, sites, pad=0).run(segments_of(texts)), alone)


def test_a_batch_padded_on_the_left(model, sites, texts, alone):
    width = max(LENGTHS)
    tokens = torch.tensor([[0] * (width - len(text)) + text for text in texts])
    mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts])
    with torch.no_grad(), Recorder(model, sites) as recorder:
        model(input_ids=tokens, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0))
    buffer = BatchBuffer(4)
    buffer.write(recorder.steps[0])
    require_equal(buffer.rows(lay_out(range(4), tokens, mask)), alone)


def test_chunked_prefill(model, sites, texts, alone):
    tokens, cache, buffer = torch.tensor([texts[2]]), DynamicCache(config=model.config), BatchBuffer(1)
    with torch.no_grad(), Recorder(model, sites, on_step=buffer.write):
        for chunk in tokens.split(5, dim=1):
            model(input_ids=chunk, past_key_values=cache)
    require_equal(buffer.rows(lay_out([2], tokens)), [alone[2]])


def packed_layout(documents, tokens, position_ids):
    """Several texts in one row, each starting where `position_ids` is 0."""
    position = position_ids.numpy()
    segment = np.cumsum(position == 0, axis=1) - 1
    return Layout(np.asarray(documents)[segment], position, tokens.numpy(), position.shape[1])


def test_packed_sequences(model, sites, texts, alone):
    tokens = torch.tensor([[token for text in texts for token in text]])
    position_ids = torch.tensor([[p for text in texts for p in range(len(text))]])
    buffer = BatchBuffer(1)
    with torch.no_grad(), Recorder(model, sites, on_step=buffer.write):
        model(input_ids=tokens, position_ids=position_ids, use_cache=False)
    require_equal(buffer.rows(packed_layout(range(4), tokens, position_ids)), alone)


GREEDY = {"max_new_tokens": 8, "do_sample": False, "disable_compile": True}
ARRANGEMENTS = {
    "dynamic cache": {},
    "static cache": {"cache_implementation": "static"},
    "chunked prefill": {"prefill_chunk_size": 6},
    "no cache": {"use_cache": False},
}


@pytest.fixture(scope="module")
def generated_alone(model, sites, texts):
    """Each prompt continued on its own: prefill of the prompt, then eight sampled and seven forwarded tokens."""
    return [
        Runner(model, sites, pad=0, generation=GREEDY).run([Segment(i, text)]) for i, text in enumerate(texts)
    ]


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_generation_in_a_batch_is_generation_alone(model, sites, texts, generated_alone, arrangement):
    runner = Runner(model, sites, pad=0, generation={**GREEDY, **ARRANGEMENTS[arrangement]})
    if arrangement == "chunked prefill":
        # The library chunks a prompt only where it is not padded.
        for i, text in enumerate(texts):
            require_equal(runner.run([Segment(i, text)]), [generated_alone[i]])
        return
    rows = runner.run(segments_of(texts))
    require_equal(rows, generated_alone)
    for i, length in enumerate(LENGTHS):
        of_document = rows.decode[rows.document == i]
        # Eight sampled, the last never forwarded.
        assert of_document.tolist() == [False] * length + [True] * 7


def test_generation_equals_prefill_of_its_own_tokens(model, sites, generated_alone):
    for rows in generated_alone:
        again = Runner(model, sites, pad=0).run([Segment(int(rows.document[0]), rows.token.tolist())])
        require_equal(again, [rows])


def test_nothing_is_recorded_after_the_end_of_a_text(model, sites, texts, generated_alone):
    """The third token that document 1 generates is declared the end; it stops there, its neighbours go on."""
    end = int(generated_alone[1].token[LENGTHS[1] + 2])
    runner = Runner(model, sites, pad=0, end_tokens=[end], generation=GREEDY)
    singles = [runner.run([Segment(i, text)]) for i, text in enumerate(texts)]
    assert len(singles[1]) <= LENGTHS[1] + 2
    require_equal(runner.run(segments_of(texts)), singles)


@pytest.mark.parametrize("arrangement", [{"num_beams": 3}, {"num_beams": 3, "use_cache": False}])
def test_beam_search_is_replayed_and_its_steps_are_traced_through_the_beams(model, sites, texts, arrangement):
    runner = Runner(model, sites, pad=0, generation={**GREEDY, **arrangement}, replayed=True)
    rows = runner.run(segments_of(texts))
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


def test_compiled_generation_is_replayed_without_a_flip_rate(model, sites, texts, generated_alone):
    generation = {**GREEDY, "cache_implementation": "static", "disable_compile": False}
    runner = Runner(model, sites, pad=0, generation=generation, replayed=True)
    require_equal(runner.run(segments_of(texts)), generated_alone)
    assert runner.compared == 0


def test_windows_behind_a_token_that_is_not_recorded(model, sites, texts):
    text = texts[2]
    whole = [
        Segment(7, [1, *text[start : start + 8]], first=start, skip=1) for start in range(0, len(text), 8)
    ]
    rows = Runner(model, sites, pad=0).run(whole)
    assert rows.token.tolist() == text
    assert rows.position.tolist() == list(range(19))
    single = Runner(model, sites, pad=0).run([Segment(7, [1, *text[8:16]])])
    np.testing.assert_array_equal(rows.experts[sites[0].name][8:16], single.experts[sites[0].name][1:])


def test_flip_rate_counts_sets_not_slots(alone):
    rows = alone[0]
    swapped = {key: values[:, ::-1].copy() for key, values in rows.columns.items()}
    other = type(rows)(rows.document, rows.position, rows.token, rows.decode, swapped)
    assert flip_rate(rows, other) == (0, len(rows) * len(rows.experts))
    key = next(iter(swapped))
    taken = set(swapped[key][4].tolist())
    swapped[key][4, 0] = next(e for e in range(8) if e not in taken)
    assert flip_rate(rows, other)[0] == 1
    with pytest.raises(RoutestatError, match="same tokens"):
        flip_rate(rows, alone[1])


def test_a_token_that_was_never_forwarded_is_named(model, sites, texts):
    buffer = BatchBuffer(1)
    with torch.no_grad(), Recorder(model, sites, on_step=buffer.write):
        model(input_ids=torch.tensor([texts[0][:9]]))
    with pytest.raises(RoutestatError, match="document 4, position 9: the token was never forwarded"):
        buffer.rows(lay_out([4], [texts[0]]))


def test_extension_by_hand():
    """Prompts [pad a], [b c]; new tokens: end at once, and none ending in three."""
    layout = lay_out([0, 1], [[0, 11], [12, 13]], [[0, 1], [1, 1]])
    longer = extend(layout, [[2, 0, 0], [14, 15, 16]], [2])
    assert longer.document.tolist() == [[-1, 0, -1, -1, -1], [1, 1, 1, 1, -1]]
    assert longer.position[1].tolist() == [0, 1, 2, 3, 4]
    assert longer.token[1].tolist() == [12, 13, 14, 15, 16]


def test_batches_keep_the_order():
    assert [len(b) for b in batches(iter(segments_of([[1]] * 7)), 3)] == [3, 3, 1]
