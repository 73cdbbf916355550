"""Experts that compute nothing: their use counted by hand, and metadata that contradict themselves."""

import numpy as np
import pyarrow as pa
import pytest

from routestat.counting.counts import count
from routestat.counting.document_sample import take_sample
from routestat.errors import RoutestatError
from routestat.inference.base.estimate import ratio
from routestat.study.identity_experts import identity_experts, measure_identity
from routestat.study.modules import measure_modules
from routestat.study.structure_plan import StructurePlan
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace

ROUTERS = routers_like(range(3), 6, 2)
IDENTITY = {"L00": [4, 5], "L02": [0]}


def trace_of(identity=None, documents=20, length=15, seed=0, missing=True):
    rng = np.random.default_rng(seed)
    rows = documents * length
    document = np.repeat(np.arange(documents), length)
    position = np.tile(np.arange(length), documents)
    alphabet = ROUTERS[0].alphabet
    states = rng.integers(0, alphabet.size, (rows, 3)).astype(alphabet.dtype)
    if missing:
        states[::7, 0] = alphabet.missing
    phase = np.where(position < 10, 0, 1)
    meta = TraceMeta(ROUTERS, extra={"identity_experts": IDENTITY if identity is None else identity})
    trace = Trace.from_arrays(meta, document, position, states, phase=np.array(["prefill", "decode"])[phase])
    domain = ["prose" if n % 2 else "code" for n in range(documents)]
    trace.documents = trace.documents.append_column("domain", pa.array(domain))
    return trace, document, states, phase, alphabet


def test_use_by_hand():
    trace, document, states, phase, alphabet = trace_of()
    sample = take_sample(trace)
    found = measure_identity(sample, identity_experts(trace.meta))
    assert [use.router.name for use in found.layers] == ["L00", "L02"]
    real, layers = np.zeros(len(states)), np.zeros(len(states))
    for use, ids in zip(found.layers, ((4, 5), (0,)), strict=True):
        column = states[:, use.router.layer]
        known = column < alphabet.size
        chosen = np.isin(alphabet.unrank(column[known]), ids).sum(axis=1)
        numerator, tokens = (np.bincount(document[known], weights) for weights in (chosen, None))
        assert use.per_token == ratio(numerator, tokens)
        assert use.share == ratio(numerator, 2 * tokens)
        assert use.share_of_experts == len(ids) / 6
        np.testing.assert_allclose(use.real, np.bincount(2 - chosen, minlength=3) / known.sum())
        real[known] += 2 - chosen
        layers += known
    parts = {(part.kind, part.value): part for part in found.parts}
    assert set(parts) == {
        ("", ""), ("phase", "prefill"), ("phase", "decode"), ("domain", "code"), ("domain", "prose")
    }  # fmt: skip
    for (kind, value), part in parts.items():
        own = np.ones(len(states), bool)
        if kind == "phase":
            own = phase == (value == "decode")
        elif kind == "domain":
            own = document % 2 == (value == "prose")
        assert part.n_tokens == own.sum()
        expected = ratio(np.bincount(document[own], real[own]), np.bincount(document[own], layers[own]))
        assert part.per_layer.value == pytest.approx(expected.value)
        assert part.per_layer.low == pytest.approx(expected.low)


def test_chosen_layers_without_identity_experts_have_no_finding():
    trace, *_ = trace_of()
    counts = count(trace, [1])

    def never():
        raise AssertionError

    assert measure_modules(trace, counts, StructurePlan(), never).identity is None
    assert measure_identity(take_sample(trace, [1]), identity_experts(trace.meta)).layers == ()


def test_expert_view_has_the_same_numbers():
    trace, *_ = trace_of()
    found = measure_modules(trace, count(trace), StructurePlan(), lambda: take_sample(trace)).identity
    wide = measure_modules(
        trace, count(trace, states="expert"), StructurePlan(), lambda: take_sample(trace)
    ).identity
    assert [use.share for use in found.layers] == [use.share for use in wide.layers]


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        ([1], "expected router names with lists of ids, found list"),
        ({"L07": [1]}, "expected names of its routers such as L00, found .*L07"),
        ({"L00": [6]}, "expected different ids from 0 to 5 for L00, found .*6"),
        ({"L00": [1, 1]}, "expected different ids"),
        ({"L00": [True]}, "expected different ids"),
        ({"L00": "4"}, "expected different ids"),
        ({"L00": [-1]}, "expected different ids"),
    ],
)
def test_metadata_that_contradict_themselves_are_one_clear_line(identity, message):
    trace, *_ = trace_of(identity)
    with pytest.raises(RoutestatError, match=message) as raised:
        identity_experts(trace.meta)
    assert "\n" not in str(raised.value)


def test_no_identity_experts_are_none():
    assert identity_experts(TraceMeta(ROUTERS)) == {}
    assert identity_experts(TraceMeta(ROUTERS, extra={"identity_experts": {"L00": []}})) == {}
