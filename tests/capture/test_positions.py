"""Steps become rows with document and position, whatever the padding, the chunks or the packing."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
from transformers import DynamicCache

from capture.hooks import Recorder
from capture.positions import BatchBuffer, Layout, extend, flip_rate, lay_out
from routestat.errors import RoutestatError
from tests.capture.batches import LENGTHS, require_equal


def test_a_batch_padded_on_the_left(model, sites, token_lists, alone):
    width = max(LENGTHS)
    tokens = torch.tensor([[0] * (width - len(text)) + text for text in token_lists])
    mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in token_lists])
    with torch.no_grad(), Recorder(model, sites) as recorder:
        model(input_ids=tokens, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0))
    buffer = BatchBuffer(4)
    buffer.write(recorder.steps[0])
    require_equal(buffer.rows(lay_out(range(4), tokens, mask)), alone)


def test_chunked_prefill(model, sites, token_lists, alone):
    tokens, cache, buffer = torch.tensor([token_lists[2]]), DynamicCache(config=model.config), BatchBuffer(1)
    with torch.no_grad(), Recorder(model, sites, on_step=buffer.write):
        for chunk in tokens.split(5, dim=1):
            model(input_ids=chunk, past_key_values=cache)
    require_equal(buffer.rows(lay_out([2], tokens)), [alone[2]])


def packed_layout(documents, tokens, position_ids):
    """Several token_lists in one row, each starting where `position_ids` is 0."""
    position = position_ids.numpy()
    segment = np.cumsum(position == 0, axis=1) - 1
    return Layout(np.asarray(documents)[segment], position, tokens.numpy(), position.shape[1])


def test_packed_sequences(model, sites, token_lists, alone):
    tokens = torch.tensor([[token for text in token_lists for token in text]])
    position_ids = torch.tensor([[p for text in token_lists for p in range(len(text))]])
    buffer = BatchBuffer(1)
    with torch.no_grad(), Recorder(model, sites, on_step=buffer.write):
        model(input_ids=tokens, position_ids=position_ids, use_cache=False)
    require_equal(buffer.rows(packed_layout(range(4), tokens, position_ids)), alone)


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


def test_a_token_that_was_never_forwarded_is_named(model, sites, token_lists):
    buffer = BatchBuffer(1)
    with torch.no_grad(), Recorder(model, sites, on_step=buffer.write):
        model(input_ids=torch.tensor([token_lists[0][:9]]))
    with pytest.raises(RoutestatError, match="document 4, position 9: the token was never forwarded"):
        buffer.rows(lay_out([4], [token_lists[0]]))


def test_extension_by_hand():
    """Prompts [pad a], [b c]; new tokens: end at once, and none ending in three."""
    layout = lay_out([0, 1], [[0, 11], [12, 13]], [[0, 1], [1, 1]])
    longer = extend(layout, [[2, 0, 0], [14, 15, 16]], [2])
    assert longer.document.tolist() == [[-1, 0, -1, -1, -1], [1, 1, 1, 1, -1]]
    assert longer.position[1].tolist() == [0, 1, 2, 3, 4]
    assert longer.token[1].tolist() == [12, 13, 14, 15, 16]
