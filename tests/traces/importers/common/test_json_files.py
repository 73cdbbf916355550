"""What is odd in a JSON file ends in a note or in one line."""

import numpy as np

from tests.traces.importers.common.responses import one
from tests.traces.importers.known import refused, stored, subsets


def test_a_byte_order_mark_is_no_content(capsys, tmp_path, experts):
    (tmp_path / "x.json").write_text("\ufeff" + one(experts), encoding="utf-8")
    _, got, _ = stored(capsys, tmp_path / "x.json", tmp_path, "--n-experts", 8)
    assert np.array_equal(subsets(got.experts), subsets(experts))


def test_a_name_that_comes_twice_is_refused(capsys, tmp_path, experts):
    (tmp_path / "x.json").write_text('{"choices": [], ' + one(experts)[1:])
    line = refused(capsys, tmp_path / "x.json", tmp_path, "--n-experts", 8)
    assert "x.json: the name 'choices' comes twice in one object" in line
