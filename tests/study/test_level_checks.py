"""The A/A check of a whole trace: which families it checks, with what, and what it says where it cannot."""

import numpy as np
import pytest

from routestat import Trace, TraceMeta
from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.counting.document_sample import take_sample
from routestat.inference.association.independence import independence
from routestat.study.level_checks import LevelChecks, check_levels
from routestat.traces.metadata import routers_like
from routestat.traces.synthetic import chain, expert_chain


def check(layers: int, documents: int, wide: bool = False, reported=None) -> LevelChecks:
    n_experts, top_k = (16, 4) if wide else (4, 2)
    make = expert_chain if wide else chain
    made = make(
        coupling=0.7,
        rng=np.random.default_rng(1),
        n_experts=n_experts,
        top_k=top_k,
        layers=layers,
        documents=documents,
        mean_length=30,
    )
    meta = TraceMeta(routers_like(made.layers, made.n_experts, made.top_k), name="small")
    trace = Trace.from_arrays(meta, made.document, made.position, made.states)
    counts = count(trace, contexts=[Context()])
    extra = () if reported is None else (lambda *step: reported.append(step),)
    return check_levels(counts, take_sample(trace), np.random.default_rng(2), *extra)


def test_all_families_of_the_state_view() -> None:
    reported: list[tuple[str, int, int]] = []
    found = check(4, 40, reported=reported)
    assert [(one.family, one.n_units, one.n_draws) for one in found.families] == [
        ("loads", 40, 1000),
        ("independence", 40, 240),
        ("order", 40, 102),
    ]
    # The layers do depend on each other; where documents have exchanged them, a test that holds its level is quiet.
    assert [one.verdict for one in found.families] == ["holds"] * 3
    assert [int(one.p_histogram.sum()) for one in found.families] == [4000, 240, 102]
    assert found.answer() == found.reading()[: len(found.answer())]
    assert "loads, independence and order can be trusted here" in found.answer()
    assert "(the design effect of the loads)" in found.reading()
    steps = [done / total for _, done, total in reported]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, 1)


@pytest.mark.parametrize(
    ("given", "independence", "order"),
    [
        ({"layers": 1, "documents": 30}, "1 layer, and the test takes 2", "1 layer, and the test takes 3"),
        ({"layers": 2, "documents": 30}, None, "2 layers, and the test takes 3"),
        (
            {"layers": 3, "documents": 11},
            "12 clusters of documents or more are needed",
            "to exchange layers, got 11",
        ),
        ({"layers": 3, "documents": 1}, "to exchange layers, got 1", "to exchange layers, got 1"),
        ({"layers": 3, "documents": 30, "wide": True}, None, "the expert view has no such test"),
    ],
)
def test_what_cannot_be_checked_says_why(given, independence, order) -> None:
    found = check(**given)
    for one, why in zip(found.families[1:], (independence, order), strict=True):
        assert (one.reason is None) == (why is None)
        assert (why or "") in str(one.reason)
        if why:
            assert (one.verdict, one.n_draws, one.p_histogram.sum()) == ("unchecked", 0, 0)
    if found.families[1].reason is None:
        assert "Not checked: order." in found.answer()


def test_the_same_seed_gives_the_same_check() -> None:
    one, other = check(3, 20), check(3, 20)
    assert [a.p_histogram.tolist() for a in one.families] == [b.p_histogram.tolist() for b in other.families]


def test_wide_tables_get_fewer_draws_and_groups(monkeypatch) -> None:
    monkeypatch.setattr("routestat.study.level_checks.MOST_WORK", 1)
    monkeypatch.setattr("routestat.study.level_checks.MOST_CELLS", 1)
    groups = []

    def spy(tables):
        groups.append(len(tables))
        return independence(tables)

    monkeypatch.setattr("routestat.inference.level_checks.null_p_values.independence", spy)
    found = check(3, 80)
    assert [one.n_draws for one in found.families[1:]] == [50, 50]
    # 40 made documents, in as many groups as a clustered test is not rough with.
    assert set(groups) == {30}
