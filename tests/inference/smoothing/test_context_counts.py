"""Levels of contexts against dictionaries, and what is held back against loops over all entries."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.inference.smoothing import context_counts as levels
from routestat.inference.smoothing.context_counts import ContextCounts, TokenRows

COLUMNS = {"a": 3, "b": 5, "token": 400}
NAMES = [(), ("a",), ("token",), ("b", "a"), ("a", "b", "token")]


def random_rows(
    seed: int, n: int = 300, groups: int = 7, n_targets: int = 4, unknown: float = 0.1
) -> TokenRows:
    """Tokens with some unknown columns; a group can be empty, and labels have gaps."""
    rng = np.random.default_rng(seed)
    columns = {
        name: np.where(rng.random(n) < unknown, -1, rng.integers(0, width, n) ** 2 // width)
        for name, width in COLUMNS.items()
    }
    group = rng.choice(groups, n, p=rng.dirichlet(np.full(groups, 0.7)))
    return TokenRows(rng.integers(0, n_targets, n), n_targets, group, columns)


@pytest.fixture(params=["table of all keys", "keys in order"], autouse=True)
def keys(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of numbering what was seen."""
    monkeypatch.setattr(levels, "DENSE_KEYS", 1 << 23 if request.param == "table of all keys" else -1)


def entries_of(rows: TokenRows, names: tuple[str, ...]) -> Counter:
    """Tokens by (context, target, group)."""
    found: Counter = Counter()
    for i in range(len(rows)):
        context = tuple(int(rows.columns[name][i]) for name in names)
        if -1 not in context:
            found[context, int(rows.target[i]), int(rows.group[i])] += 1
    return found


def test_a_level_by_hand() -> None:
    # Rows (a, target, group): (1, 0, 2), (1, 0, 0), (?, 1, 0), (0, 1, 2), (1, 0, 2). Entries in order of context,
    # target, group: (0, 1, 2) once, (1, 0, 0) once, (1, 0, 2) twice. Two cells, two contexts, three parts.
    rows = TokenRows(
        np.array([0, 0, 1, 1, 0]), 2, np.array([2, 0, 0, 2, 2]), {"a": np.array([1, 1, -1, 0, 1])}
    )
    level = ContextCounts(rows, ("a",))
    assert (len(rows), rows.n_groups, level.n_cells, level.n_contexts) == (5, 3, 2, 2)
    np.testing.assert_array_equal(level.entry_of, [2, 1, -1, 0, 2])
    np.testing.assert_array_equal(level.count, [1, 1, 2])
    np.testing.assert_array_equal(level.cell, [0, 1, 1])
    np.testing.assert_array_equal(level.group, [2, 0, 2])
    np.testing.assert_array_equal(level.context, [0, 1])
    np.testing.assert_array_equal(level.part, [0, 1, 2])
    np.testing.assert_array_equal(level.part_context, [0, 1, 1])
    np.testing.assert_array_equal(level.cells(level.count), [1, 3])
    np.testing.assert_array_equal(level.contexts([10, 20]), [10, 20])
    own, whole = level.held_back(level.count, later=True)
    np.testing.assert_array_equal(own, [1, 3, 2])
    np.testing.assert_array_equal(whole, [1, 3, 2])


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_a_dictionary(names: tuple[str, ...], seed: int) -> None:
    rows = random_rows(seed)
    level, slow = ContextCounts(rows, names), entries_of(rows, names)
    order = sorted(slow)
    np.testing.assert_array_equal(level.count, [slow[entry] for entry in order])
    np.testing.assert_array_equal(level.group, [group for *_, group in order])
    for i in range(len(rows)):
        key = tuple(int(rows.columns[name][i]) for name in names), int(rows.target[i]), int(rows.group[i])
        assert level.entry_of[i] == (order.index(key) if key in slow else -1)
    assert [int(level.entry_of[row]) for row in level.row_of] == list(range(len(order)))
    cells = sorted({(context, target) for context, target, _ in order})
    contexts = sorted({context for context, _ in cells})
    parts = sorted({(context, group) for context, _, group in order})
    assert (level.n_cells, level.n_contexts) == (len(cells), len(contexts))
    np.testing.assert_array_equal(level.cell, [cells.index((c, z)) for c, z, _ in order])
    np.testing.assert_array_equal(level.context, [contexts.index(c) for c, _ in cells])
    np.testing.assert_array_equal(level.part, [parts.index((c, g)) for c, _, g in order])
    np.testing.assert_array_equal(level.part_context, [contexts.index(c) for c, _ in parts])


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [
        ((), ("b", "a")),
        (("a",), ("b", "a")),
        (("token",), ("a", "b", "token")),
        (("b", "a"), ("a", "b", "token")),
    ],
)
@pytest.mark.parametrize("unknown", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("ordered", [False, True])
def test_counts_of_entries_are_those_of_rows(
    shorter: tuple[str, ...], longer: tuple[str, ...], unknown: float, ordered: bool
) -> None:
    rows = random_rows(4, unknown=unknown)
    if ordered:
        order = np.argsort(rows.group, kind="stable")
        columns = {name: column[order].astype(np.int32) for name, column in rows.columns.items()}
        rows = TokenRows(rows.target[order], rows.n_targets, rows.group[order], columns)
    whole = ContextCounts(rows, longer)
    # Counted twice from entries: the empty context from those of what was counted from entries itself.
    direct, counted = ContextCounts(rows, shorter), ContextCounts(rows, shorter, whole)
    again = ContextCounts(rows, (), counted)
    for one, other in ((direct, counted), (ContextCounts(rows, ()), again)):
        for name in ("count", "group", "cell", "context", "part", "part_context", "entry_of"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name), err_msg=name)
        np.testing.assert_array_equal(other.entry_of[other.row_of], np.arange(len(other.count)))
        np.testing.assert_array_equal(other.entries_of(whole), one.entry_of[whole.row_of])
    np.testing.assert_array_equal(again.entries_of(counted), again.entry_of[counted.row_of])


@pytest.mark.parametrize("names", NAMES)
def test_sums_over_groups_and_targets(names: tuple[str, ...]) -> None:
    rows = random_rows(5)
    level = ContextCounts(rows, names)
    by_cell: defaultdict = defaultdict(float)
    by_context: defaultdict = defaultdict(float)
    values = np.random.default_rng(0).random(len(level.count))
    for (context, target, _), value in zip(sorted(entries_of(rows, names)), values, strict=True):
        by_cell[context, target] += value
        by_context[context] += value
    cells = level.cells(values)
    np.testing.assert_allclose(cells, [by_cell[cell] for cell in sorted(by_cell)], rtol=1e-12)
    np.testing.assert_allclose(
        level.contexts(cells), [by_context[context] for context in sorted(by_context)], rtol=1e-12
    )


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_held_back_is_a_loop_over_groups(names: tuple[str, ...], later: bool, seed: int) -> None:
    rows = random_rows(seed)
    level, slow = ContextCounts(rows, names), entries_of(rows, names)
    order = sorted(slow)
    values = np.random.default_rng(seed).random(len(order))

    def hidden(group: int, mine: int) -> bool:
        return group >= mine if later else group == mine

    own, whole = level.held_back(values, later)
    assert own.shape == (len(order),)
    for i, (context, target, mine) in enumerate(order):
        same_context = [
            (z, value)
            for (c, z, g), value in zip(order, values, strict=True)
            if c == context and hidden(g, mine)
        ]
        assert own[i] == pytest.approx(sum(value for z, value in same_context if z == target), rel=1e-12)
        assert whole[level.part[i]] == pytest.approx(sum(value for _, value in same_context), rel=1e-12)


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_targets_lost_are_a_loop_over_groups(names: tuple[str, ...], later: bool, seed: int) -> None:
    rows = random_rows(seed, n=120)
    level, order = ContextCounts(rows, names), sorted(entries_of(rows, names))
    own, _ = level.held_back(level.count, later)
    lost = level.distinct_held_back(level.cells(level.count)[level.cell] - own, later)
    for i, (context, _, mine) in enumerate(order):
        seen = {z for c, z, _ in order if c == context}
        left = {z for c, z, g in order if c == context and (g < mine if later else g != mine)}
        assert lost[level.part[i]] == len(seen) - len(left)


def test_sums_do_not_leak_from_one_run_into_the_next() -> None:
    # Sums run on over all cells, from the last one back: what large ones leave behind in small ones is rounding.
    rows = TokenRows(np.array([0, 0, 1, 1]), 2, np.array([0, 1, 0, 1]), {})
    own, _ = ContextCounts(rows, ()).held_back([0.25, 0.5, 1e6, 1e6], later=True)
    np.testing.assert_allclose(own, [0.75, 0.5, 2e6, 1e6], rtol=1e-9)


@pytest.mark.parametrize("names", NAMES)
def test_shuffled_rows_make_the_same_level(names: tuple[str, ...]) -> None:
    rows = random_rows(1)
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = TokenRows(
        rows.target[order], rows.n_targets, rows.group[order], {n: c[order] for n, c in rows.columns.items()}
    )
    one, other = ContextCounts(rows, names), ContextCounts(shuffled, names)
    for name in ("count", "group", "cell", "context", "part", "part_context"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(other.entry_of, one.entry_of[order])


@pytest.mark.parametrize("place", range(7))
def test_many_wide_columns_stay_apart(place: int) -> None:
    # Seven columns of 2**16 labels have 2**112 combinations. The 250 that are seen differ in one column alone, and
    # in 64 bits a number made of all labels forgets the first ones.
    different = np.tile(np.arange(250), 2)
    same = np.full(500, (1 << 16) - 1)
    columns = {
        str(i): np.append(different, same[0]) if i == place else np.append(same, same[0]) for i in range(7)
    }
    rows = TokenRows(np.arange(501) % 2, 2, np.repeat([0, 1], [250, 251]), columns)
    level = ContextCounts(rows, tuple(columns))
    assert level.n_contexts == 251
    context = level.context[level.cell[level.entry_of]]
    np.testing.assert_array_equal(context[:250], np.arange(250))
    np.testing.assert_array_equal(context[250:500], np.arange(250))


@pytest.mark.parametrize("n", [0, 4])
def test_a_column_that_nobody_knows_makes_an_empty_level(n: int) -> None:
    rows = TokenRows(np.zeros(n, int), 3, np.arange(n), {"a": np.full(n, -1)})
    level = ContextCounts(rows, ("a",))
    assert (level.n_cells, level.n_contexts, len(level.count)) == (0, 0, 0)
    np.testing.assert_array_equal(level.entry_of, np.full(n, -1))
    for later in (False, True):
        assert all(part.shape == (0,) for part in level.held_back([], later))
        assert level.distinct_held_back(np.empty(0), later).shape == (0,)
    assert TokenRows(np.zeros(0, int), 3, np.zeros(0, int), {}).n_groups == 0


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(RoutestatError, match=r"no column c .* there are a, b, token"):
        ContextCounts(random_rows(0), ("a", "c"))


GOOD = {"target": [0, 1, 1], "group": [0, 0, 2], "a": [3, -1, 0]}


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("target", [0, 1, 2], "target: expected a whole number from 0 to 1 for each of 3 rows"),
        ("target", [0, 1, -1], "target: expected a whole number from 0 to 1"),
        ("target", [0, 1], "group: expected a whole number from 0 to 2147483647 for each of 2 rows"),
        ("group", [0, -1, 2], "group: expected a whole number from 0"),
        ("group", [0, 1, 1 << 31], "group: expected a whole number from 0 to 2147483647"),
        ("group", [0, 1], "group: expected .* for each of 3 rows"),
        ("a", [3, -2, 0], "a: expected a whole number from -1"),
        ("a", [3, -1, 0, 0], "a: expected .* for each of 3 rows; .* give −1 where a column is unknown"),
        ("a", [], "a: expected .* for each of 3 rows"),
    ],
)
def test_rows_that_cannot_be_are_refused(name: str, values: list[int], message: str) -> None:
    changed = {key: np.array(value, np.int64) for key, value in (GOOD | {name: values}).items()}
    with pytest.raises(RoutestatError, match=message):
        TokenRows(changed["target"], 2, changed["group"], {"a": changed["a"]})


def test_rows_at_the_ends_of_what_can_be_are_taken() -> None:
    good = {key: np.array(value, np.int64) for key, value in GOOD.items()}
    rows = TokenRows(
        good["target"], 2, good["group"], {"a": good["a"], "b": np.full(3, np.iinfo(np.int64).max)}
    )
    assert (len(rows), rows.n_groups) == (3, 3)
    assert TokenRows(np.array([0]), 1, np.array([0]), {}).n_groups == 1
    assert len(TokenRows(np.zeros(0, int), 1, np.zeros(0, int), {"a": np.zeros(0, int)})) == 0
