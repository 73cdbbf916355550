"""Token lists of different lengths, and the comparison of a batch with single runs."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
from capture.forward import Segment

LENGTHS = (13, 7, 19, 4)


def segments_of(token_lists):
    return [Segment(i, text) for i, text in enumerate(token_lists)]


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
