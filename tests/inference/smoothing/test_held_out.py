"""Held-out bits of ladders against a slow recursion, as probabilities, and under everything that must not matter."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from routestat.errors import RoutestatError
from routestat.inference.markov.order_selection import choose_order
from routestat.inference.smoothing import held_out as held_out_file
from routestat.inference.smoothing.backoff_strength import BackoffParameters
from routestat.inference.smoothing.context_counts import TokenRows
from routestat.inference.smoothing.held_out import HeldOut, held_out
from routestat.traces.synthetic import second_order
from tests.oracle.backoff_oracle import Rule, Token, slow_fits, slow_held_out

LADDER = [(), ("b",), ("a", "b"), ("c", "b", "a")]
WIDTHS = {"a": 3, "b": 4, "c": 2}


def random_rows(seed: int, n: int, groups: int, n_targets: int, unknown: float = 0.15) -> TokenRows:
    """A law of its own after every a, b, c; groups are unequal and some are empty."""
    rng = np.random.default_rng(seed)
    columns = {name: rng.integers(0, width, n) for name, width in WIDTHS.items()}
    steps = rng.dirichlet(np.full(n_targets, 0.6), tuple(WIDTHS.values())).cumsum(axis=-1)
    target = (rng.random((n, 1)) > steps[tuple(columns.values())][:, :-1]).sum(axis=1)
    hidden = {name: np.where(rng.random(n) < unknown, -1, column) for name, column in columns.items()}
    group = rng.choice(groups, n, p=rng.dirichlet(np.full(groups, 0.8)))
    return TokenRows(target, n_targets, group, hidden)


def tokens_of(rows: TokenRows) -> list[Token]:
    return [
        Token(
            int(rows.target[i]),
            int(rows.group[i]),
            {name: int(column[i]) for name, column in rows.columns.items() if column[i] >= 0},
        )
        for i in range(len(rows))
    ]


def taken(rows: TokenRows, order: ArrayLike) -> TokenRows:
    """These rows in this order."""
    place = np.asarray(order)
    columns = {name: column[place] for name, column in rows.columns.items()}
    return replace(rows, target=rows.target[place], group=rows.group[place], columns=columns)


def both_ways(rows: TokenRows, ladder: list[tuple[str, ...]]) -> tuple[np.ndarray, np.ndarray]:
    scored = held_out(rows, {"x": ladder}, ["x"])
    return scored.bits["x"], scored.forward_bits["x"]


def assert_as_slow(rows: TokenRows, ladder: list[tuple[str, ...]], rule: Rule | None = None) -> None:
    for bits, forward in zip(both_ways(rows, ladder), (False, True), strict=True):
        slow = slow_held_out(tokens_of(rows), ladder, rows.n_targets, forward=forward, rule=rule)
        expected = [slow.get(group, 0.0) for group in range(rows.n_groups)]
        np.testing.assert_allclose(bits, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(12))
def test_bits_are_those_of_a_recursion_built_up_without_the_group(seed: int, steps: int) -> None:
    rng = np.random.default_rng([seed, 7])
    rows = random_rows(seed, int(rng.integers(6, 110)), int(rng.integers(3, 9)), int(rng.integers(2, 6)))
    assert_as_slow(rows, LADDER[:steps])


@pytest.mark.parametrize("ladder", [[(), ("a", "b")], [(), ("c",), ("b", "a", "c")]])
def test_a_ladder_may_take_two_columns_at_once(ladder: list[tuple[str, ...]]) -> None:
    assert_as_slow(random_rows(5, 90, 6, 4), ladder)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_so_are_they_under_any_rule_of_strengths(
    seed: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Discounts are rare on small traces: here every step has one, and strengths that depend on all of the cells.
    def strength(counts: np.ndarray, base: np.ndarray, totals: np.ndarray) -> float:
        return 0.3 + float(counts @ base) / (1.0 + float(np.sum(totals)))

    def backoff(counts: np.ndarray, base: np.ndarray, context: np.ndarray) -> BackoffParameters:
        n_contexts = len(set(context.tolist()))
        return BackoffParameters(
            0.2 + float(counts @ base) / (1.0 + n_contexts), 0.9 / (1.0 + 0.1 * len(counts))
        )

    monkeypatch.setattr(held_out_file, "fit_strength", strength)
    monkeypatch.setattr(held_out_file, "fit_backoff", backoff)
    assert_as_slow(random_rows(seed + 40, 80, 6, 4), LADDER[:steps], Rule(strength, backoff))


def test_bits_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # With a strength of 1 and two targets, p = (c + 1/2) / (n + 1). Group 0 has targets 0, 0, group 1 has 0, 1 and
    # group 2 has 0. Without group 0: 2 of 3 are 0, so 2.5 / 4 twice. Without 1: 3 of 3, so 3.5 / 4 and 0.5 / 4.
    # Without 2: 3 of 4, so 3.5 / 5. Forward: 1/2 twice; 2.5 / 3 and 0.5 / 3; 3.5 / 5.
    # Nor is the strength raised: for group 1 it comes from groups 0 and 2, which have nothing but 0 and foretell each
    # other the worse the stronger 1/2 is; for the others from group 1 alone, which has none to learn from.
    monkeypatch.setattr(held_out_file, "fit_backoff", lambda *_: BackoffParameters(1.0))
    monkeypatch.setattr(held_out_file, "fit_strength", lambda *_: 1.0)
    rows = TokenRows(np.array([0, 0, 0, 1, 0]), 2, np.array([0, 0, 1, 1, 2]), {})
    bits, forward = both_ways(rows, [()])
    np.testing.assert_allclose(2.0**-bits, [(2.5 / 4) ** 2, 3.5 / 4 * 0.5 / 4, 3.5 / 5], rtol=1e-13)
    np.testing.assert_allclose(2.0**-forward, [1 / 4, 2.5 / 3 * 0.5 / 3, 3.5 / 5], rtol=1e-13)


def test_the_raised_strength_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two targets, a strength of 1 by evidence. Groups 0 and 2, with 0, 0, 0 and 0, 0, 1, tell group 1. Left out in
    # turn they have ((2 + s/2) / (3 + s))**3 and ((3 + s/2) / (3 + s))**2 (s/2) / (3 + s): .0234 in all at s = 1,
    # .0276 at 2, .0272 at 4. So s = 2, and group 1, with 0 and 1, has (5 + 1) / (6 + 2) and (1 + 1) / (6 + 2). Forward
    # it knows group 0 only: (3 + 1) / (3 + 2) and (0 + 1) / (3 + 2). The others have s = 1: group 1 alone
    # leaves nothing to be told from.
    monkeypatch.setattr(held_out_file, "fit_backoff", lambda *_: BackoffParameters(1.0))
    monkeypatch.setattr(held_out_file, "fit_strength", lambda *_: 1.0)
    rows = TokenRows(np.array([0, 0, 0, 0, 1, 0, 0, 1]), 2, np.array([0, 0, 0, 1, 1, 2, 2, 2]), {})
    scored = held_out(rows, {"x": [()]}, ["x"])
    assert scored.fitted == {"x": (BackoffParameters(1.0), BackoffParameters(2.0))}
    left_out = (3.5 / 6) ** 3, (4.5 / 6) ** 2 * 1.5 / 6
    np.testing.assert_allclose(
        2.0 ** -scored.bits["x"], [left_out[0], 6 / 8 * 2 / 8, left_out[1]], rtol=1e-13
    )
    assert 2.0 ** -scored.forward_bits["x"][1] == pytest.approx(4 / 5 * 1 / 5, rel=1e-13)


def repeated(rows: TokenRows, times: int) -> TokenRows:
    """Every token so many times, in its own document."""
    return taken(rows, np.repeat(np.arange(len(rows)), times))


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_strengths_of_both_halves_are_those_of_the_recursion(steps: int, times: int) -> None:
    rows = repeated(random_rows(9, 60, 7, 4), times)
    found = held_out(rows, {"x": LADDER[:steps]}).fitted["x"]
    slow = [fit.fitted[-1] for fit in slow_fits(tokens_of(rows), LADDER[:steps], rows.n_targets)]
    assert slow[0].strength != pytest.approx(slow[1].strength, rel=0.01)
    # Strengths without an end are doubled until the last digit: of those only that they have none is told.
    for one, other in zip(found, slow, strict=True):
        assert 1 / one.strength == pytest.approx(1 / other.strength, rel=1e-6, abs=1e-12)
        assert one.discount == pytest.approx(other.discount, rel=1e-6)


@pytest.mark.parametrize("steps", [2, 3])
def test_repeated_tokens_are_those_of_the_recursion(steps: int) -> None:
    assert_as_slow(repeated(random_rows(3, 40, 6, 4), 3), LADDER[:steps])


@pytest.mark.parametrize(("evidence", "plain"), [((2.0, 0.6), 1.0), ((0.001, 0.05), 8.0)])
def test_the_better_of_discounted_and_plain_strengths_is_raised_as_far_as_it_gains(
    evidence: tuple[float, float], plain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Losses of parabolas in log2 s: the plain one has its end at 8 and is lower there, the discounted one at 16.
    def loss(fitted: BackoffParameters) -> float:
        best = 4.0 if fitted.discount else 3.0
        return (np.log2(fitted.strength) - best) ** 2 + (0.3 if fitted.discount else 0.0)

    raised = held_out_file._Step._strengthened(
        BackoffParameters(*evidence), BackoffParameters(plain), loss, 1e9
    )
    assert raised == BackoffParameters(8.0)
    # What foretells worse when doubled stays as it is, were it the best or not.
    assert held_out_file._Step._strengthened(
        BackoffParameters(20.0, 0.1), BackoffParameters(90.0), loss, 1e9
    ) == BackoffParameters(20.0, 0.1)
    # Above the bound beyond which a prior outweighs any row nothing is gained.
    alone = BackoffParameters(*evidence)
    assert held_out_file._Step._strengthened(alone, alone, loss, 1.5 * evidence[0]) == alone


def both_strengths(rows: TokenRows, ladder: list[tuple[str, ...]]) -> tuple[HeldOut, HeldOut]:
    """Scored as it is, and with the strengths of greatest evidence."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out_file._Step, "_strengthened", staticmethod(lambda fitted, *_: fitted))
        by_evidence = held_out(rows, {"x": ladder})
    return held_out(rows, {"x": ladder}), by_evidence


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("seed", range(3))
def test_strengths_are_only_ever_doubled(seed: int, times: int) -> None:
    rows = repeated(random_rows(seed, 150, 8, 4), times)
    raised, by_evidence = both_strengths(rows, LADDER[:2])
    assert not any(one.discount for one in by_evidence.fitted["x"])
    steps = [
        np.log2(one.strength / other.strength)
        for one, other in zip(raised.fitted["x"], by_evidence.fitted["x"], strict=True)
    ]
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    assert min(steps) > -1e-6
    assert times == 1 or min(steps) > 2


def chain_rows(seed: int, coupling: float, documents: int = 60, length: int = 40, k: int = 6) -> TokenRows:
    """Three layers a, b, target, each told by the one before: by a law of its state with this probability."""
    rng, n = np.random.default_rng(seed), documents * length
    layers = [rng.choice(k, n, p=rng.dirichlet(np.full(k, 3.0)))]
    for _ in range(2):
        laws = coupling * rng.dirichlet(np.full(k, 0.5), k) + (1 - coupling) * rng.dirichlet(np.full(k, 3.0))
        layers.append((rng.random((n, 1)) > laws.cumsum(axis=1)[layers[-1], :-1]).sum(axis=1))
    a, b, target = layers
    return TokenRows(target, k, np.repeat(np.arange(documents), length), {"a": a, "b": b})


ORDERS: dict[str, list[tuple[str, ...]]] = {"0": [()], "1": [(), ("b",)], "2": [(), ("b",), ("a", "b")]}


def test_order_one_is_chosen_where_every_token_is_said_four_times() -> None:
    chosen = []
    for seed in range(25):
        once = chain_rows(seed, coupling=0.7)
        gains = []
        for rows in (once, repeated(once, 4)):
            scored = held_out(rows, ORDERS)
            choice = choose_order([scored.bits[order] for order in "012"], scored.tokens)
            chosen.append(choice.chosen)
            gains.append(choice.gains)
        # Copies of tokens tell no more than the tokens, and hardly less; order 2 costs little where it has no use.
        assert gains[1][0].value == pytest.approx(gains[0][0].value, abs=0.01)
        assert -0.02 < gains[1][1].value < 0.01
    assert np.mean(np.array(chosen) == 1) >= 0.96


@pytest.mark.parametrize(("noise", "share"), [(0.3, 0.85), (0.6, 0.65)])
@pytest.mark.parametrize("documents", [24, 72])
def test_order_two_is_chosen_where_every_token_is_said_ten_times(
    noise: float, share: float, documents: int
) -> None:
    gains, k = [], 6
    for run in range(6):
        made = second_order(
            noise=noise,
            rng=np.random.default_rng([run, documents]),
            n_experts=k,
            top_k=1,
            layers=3,
            documents=documents,
            mean_length=4 * k**3 // documents,
        )
        a, b, target = made.states.astype(np.int64).T
        rows = repeated(TokenRows(target, k, made.document.astype(np.int64), {"a": a, "b": b}), 10)
        scored = held_out(rows, ORDERS)
        assert choose_order([scored.bits[order] for order in "012"], scored.tokens).chosen == 2
        gains.append((scored.bits["1"] - scored.bits["2"]).sum() / len(rows))
    assert made.truth.cmi_bits is not None
    truth = float(made.truth.cmi_bits[0])
    # What 4 tokens per cell of K**3 leave to be learned is lost, copies or not; those of greatest evidence lose bits.
    assert share * truth < np.mean(gains) < truth
    _, by_evidence = both_strengths(rows, ORDERS["2"])
    assert (scored.bits["1"] - by_evidence.bits["x"]).sum() < 0


@pytest.mark.parametrize("seed", range(4))
def test_a_vocabulary_that_says_nothing_costs_nothing_though_tokens_come_thrice(seed: int) -> None:
    rng, n = np.random.default_rng(seed), 2400
    frequent = 1 / np.arange(1, 1501)
    token = rng.choice(1500, n, p=frequent / frequent.sum())
    target = rng.choice(6, n, p=rng.dirichlet(np.full(6, 3.0)))
    rows = repeated(TokenRows(target, 6, np.arange(n) % 40, {"token": token}), 3)
    nothing = held_out(rows, {"0": [()]}).bits["0"].sum()
    raised, by_evidence = both_strengths(rows, [(), ("token",)])
    assert (raised.bits["x"].sum() - nothing) / len(rows) < 0.03
    # By evidence three copies look like a token that has one target only.
    assert (by_evidence.bits["x"].sum() - nothing) / len(rows) > 1


def test_a_vocabulary_that_says_all_is_still_believed_though_tokens_come_thrice() -> None:
    rng, n = np.random.default_rng(0), 2400
    token = rng.integers(0, 100, n)
    target = np.where(rng.random(n) < 0.8, token % 6, rng.integers(0, 6, n))
    once = TokenRows(target, 6, np.arange(n) % 40, {"token": token})
    gains, discounts = [], []
    for rows in (once, repeated(once, 3)):
        scored = held_out(rows, {"0": [()], "x": [(), ("token",)]})
        discounts.append(scored.fitted["x"][0].discount)
        gains.append((scored.bits["0"] - scored.bits["x"]).sum() / len(rows))
    # Of log2 6 bits, 5/6 of the tokens are known to have their target; the rest has five others.
    known = np.log2(6) + (5 / 6) * np.log2(5 / 6) + (1 / 6) * np.log2(1 / 30)
    assert 0.85 * known < gains[1] < 1.02 * known
    # A discount rests on tokens that nothing repeats: it is not found among copies, and its gain is lost.
    assert discounts[0] > 0.1
    assert discounts[1] == 0
    assert gains[0] - 0.1 < gains[1] < gains[0]


def test_discounts_of_the_fit_itself_are_used() -> None:
    # Rows with one likely target and an even rest: see the discount at work, not only under a made-up rule.
    rng, k, n = np.random.default_rng(0), 6, 1200
    context = rng.integers(0, 40, n)
    own = rng.integers(0, k, 40)[context]
    target = np.where(rng.random(n) < 0.7, own, rng.integers(0, k, n))
    rows = TokenRows(target, k, np.arange(n) % 4, {"b": context})
    asked: list[BackoffParameters] = []
    fit = held_out_file.fit_backoff

    def listening(*cells: np.ndarray) -> BackoffParameters:
        asked.append(fit(*cells))
        return asked[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out_file, "fit_backoff", listening)
        bits, _ = both_ways(rows, LADDER[:2])
        assert any(one.discount > 0.1 for one in asked)
        patch.setattr(held_out_file, "fit_backoff", lambda *cells: BackoffParameters(fit(*cells).strength))
        without, _ = both_ways(rows, LADDER[:2])
    assert np.abs(bits - without).max() > 0.1
    assert_as_slow(taken(rows, np.arange(200)), LADDER[:2])


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_of_all_targets_sum_to_one_whatever_else_its_group_holds(seed: int) -> None:
    # If a token's law did not know its own group, the group's probability with the token, summed over its targets,
    # is that of the group without the token. Any leak of a group into its own score breaks this.
    rows = random_rows(seed + 20, 60, 5, 4)
    ladders = {str(steps): LADDER[:steps] for steps in range(1, 5)}

    def every_way(of: TokenRows) -> np.ndarray:
        scored = held_out(of, ladders, list(ladders))
        return np.array([list(scored.bits.values()), list(scored.forward_bits.values())])

    for token in range(0, 60, 15):
        if np.count_nonzero(rows.group == rows.group[token]) < 2:
            continue
        rest = every_way(taken(rows, np.delete(np.arange(60), token)))
        changed = np.arange(60) == token
        every = np.array(
            [
                every_way(replace(rows, target=np.where(changed, z, rows.target)))
                for z in range(rows.n_targets)
            ]
        )
        group = rows.group[token]
        with_token = np.exp2(-every[..., group]).sum(axis=0)
        np.testing.assert_allclose(with_token, np.exp2(-rest[..., group]), rtol=1e-9)


def test_forward_bits_count_nothing_of_groups_still_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    # Strengths are the other half's, and so are the weights that tell draws from repetitions: both are given here.
    monkeypatch.setattr(held_out_file._Step, "_strengthened", staticmethod(lambda fitted, *_: fitted))
    monkeypatch.setattr(held_out_file, "fit_strength", lambda *_: 2.0)
    monkeypatch.setattr(held_out_file, "fit_backoff", lambda *_: BackoffParameters(2.0, 0.3))
    monkeypatch.setattr(held_out_file, "expected_draws", lambda counts, _: np.sqrt(counts))
    rows = random_rows(2, 200, 6, 4)
    last = int(rows.group.max())
    changed = replace(rows, target=(rows.target + (rows.group == last)) % 4)
    for steps in range(1, 5):
        (bits, forward), (bits_then, forward_then) = (both_ways(r, LADDER[:steps]) for r in (rows, changed))
        np.testing.assert_allclose(forward_then[:last], forward[:last], rtol=1e-9)
        assert np.abs(bits_then[:last] - bits[:last]).max() > 0.1


def test_first_group_is_told_uniformly_and_the_last_as_among_all() -> None:
    rows = random_rows(8, 150, 5, 4)
    for steps in range(1, 5):
        bits, forward = both_ways(rows, LADDER[:steps])
        first, last = rows.group.min(), rows.group.max()
        assert forward[first] == pytest.approx(2.0 * np.sum(rows.group == first), rel=1e-9)
        assert forward[last] == pytest.approx(bits[last], rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    rows = random_rows(seed, 150, 6, 5)
    order = np.random.default_rng(seed).permutation(len(rows))
    for ladder in (LADDER[:3], LADDER):
        for one, other in zip(both_ways(rows, ladder), both_ways(taken(rows, order), ladder), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-13)


def relabelled_target(rows: TokenRows, rng: np.random.Generator) -> TokenRows:
    return replace(rows, target=rng.permutation(rows.n_targets)[rows.target])


def relabelled_columns(rows: TokenRows, rng: np.random.Generator) -> TokenRows:
    columns = {}
    for name, column in rows.columns.items():
        labels = np.append(rng.permutation(50)[: WIDTHS[name]], -1)
        columns[name] = labels[column]
    return replace(rows, columns=columns)


def columns_in_another_order(rows: TokenRows, rng: np.random.Generator) -> TokenRows:
    return replace(rows, columns=dict(reversed(list(rows.columns.items()))))


@pytest.mark.parametrize("change", [relabelled_target, relabelled_columns, columns_in_another_order])
@pytest.mark.parametrize("seed", range(3))
def test_labels_are_labels(change: Callable[[TokenRows, np.random.Generator], TokenRows], seed: int) -> None:
    rows = random_rows(seed + 60, 300, 6, 5)
    other = change(rows, np.random.default_rng(seed))
    ladders = [LADDER, [tuple(reversed(names)) for names in LADDER]]
    for ladder in ladders:
        for one, two in zip(both_ways(rows, LADDER), both_ways(other, ladder), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-6)


def test_groups_without_tokens_have_no_bits_and_change_none() -> None:
    rows = random_rows(2, 120, 4, 4)
    dense = replace(rows, group=np.unique(rows.group, return_inverse=True)[1])
    spread = replace(dense, group=3 * dense.group + 2)
    for one, other in zip(both_ways(dense, LADDER), both_ways(spread, LADDER), strict=True):
        np.testing.assert_allclose(other[2::3], one, rtol=1e-12)
        assert not np.delete(other, np.s_[2::3]).any()
    tokens = held_out(spread, {"x": [()]}).tokens
    np.testing.assert_array_equal(tokens[2::3], np.bincount(dense.group))
    assert tokens.sum() == len(rows)


def test_where_the_longer_context_is_never_known_the_shorter_one_answers() -> None:
    rows = random_rows(4, 120, 5, 4)
    blind = replace(rows, columns={**rows.columns, "a": np.full(len(rows), -1)})
    scored = held_out(blind, {"1": LADDER[:2], "2": LADDER[:3], "3": LADDER}, ["1", "2", "3"])
    for bits in (scored.bits, scored.forward_bits):
        np.testing.assert_array_equal(bits["1"], bits["2"])
        np.testing.assert_array_equal(bits["1"], bits["3"])


def test_ladders_scored_together_are_those_scored_alone() -> None:
    rows = random_rows(6, 200, 6, 4)
    ladders = {str(steps): LADDER[:steps] for steps in range(1, 5)} | {"other": [(), ("a",), ("a", "b")]}
    together = held_out(rows, ladders, ["4", "other"])
    assert isinstance(together, HeldOut)
    assert set(together.bits) == set(ladders)
    assert set(together.forward_bits) == {"4", "other"}
    for name, ladder in ladders.items():
        alone = both_ways(rows, ladder)
        np.testing.assert_array_equal(together.bits[name], alone[0])
        if name in together.forward_bits:
            np.testing.assert_array_equal(together.forward_bits[name], alone[1])
    assert not together.tokens.flags.writeable
    assert not any(array.flags.writeable for array in together.bits.values())


def test_what_foretells_shortens_and_noise_hardly_lengthens() -> None:
    rng, n = np.random.default_rng(1), 6000
    b, a = rng.integers(0, 6, (2, n))
    target = np.where(rng.random(n) < 0.8, b, rng.integers(0, 6, n))
    rows = TokenRows(target, 6, np.arange(n) % 12, {"a": a, "b": b})
    scored = held_out(rows, {str(steps): LADDER[:steps] for steps in (1, 2, 3)})
    zero, one, two = (scored.bits[name].sum() / n for name in "123")
    # Five wrong targets with 1/30 each, the right one with 5/6; the column a has nothing to add.
    entropy = -(5 / 6) * np.log2(5 / 6) - (1 / 6) * np.log2(1 / 30)
    assert zero == pytest.approx(np.log2(6), abs=0.01)
    assert one == pytest.approx(entropy, abs=0.03)
    assert one == pytest.approx(two, abs=0.005)


@pytest.mark.parametrize("groups", [[], [0], [3, 3, 3]])
def test_fewer_than_two_groups_hold_nothing_out(groups: list[int]) -> None:
    group = np.array(groups, int)
    rows = TokenRows(np.zeros(len(group), int), 2, group, {"b": np.zeros(len(group), int)})
    scored = held_out(rows, {"0": LADDER[:1], "1": LADDER[:2]}, ["1"])
    assert (set(scored.bits), set(scored.forward_bits), scored.fitted) == ({"0", "1"}, {"1"}, {})
    for bits in (*scored.bits.values(), *scored.forward_bits.values()):
        assert np.isnan(bits).all()
        assert bits.shape == scored.tokens.shape == (rows.n_groups,)
        assert not bits.flags.writeable
    assert not scored.tokens.flags.writeable
    assert scored.tokens.sum() == len(rows)


@pytest.mark.parametrize("groups", [[0, 0, 0, 0], [0, 1, 0, 1]])
def test_bad_questions_are_refused_however_few_the_groups(groups: list[int]) -> None:
    rows = TokenRows(np.zeros(4, int), 2, np.array(groups), {"b": np.zeros(4, int)})
    with pytest.raises(RoutestatError, match="no column d to condition on; there are b"):
        held_out(rows, {"x": [(), ("d",)]})
    with pytest.raises(RoutestatError, match="forward: no contexts 'y'; there are x"):
        held_out(rows, {"x": [()]}, ["x", "y"])
    with pytest.raises(RoutestatError, match="contexts x: wanted contexts from"):
        held_out(rows, {"x": [("b",)]})


def test_lists_of_columns_are_contexts_too() -> None:
    rows = random_rows(3, 90, 5, 4)
    listed: list[Any] = [list(names) for names in LADDER]
    lists = held_out(rows, {"x": listed}, ["x"])
    for one, other in zip(both_ways(rows, LADDER), (lists.bits["x"], lists.forward_bits["x"]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_groups_are_enough() -> None:
    rows = random_rows(1, 60, 2, 3)
    assert len(np.unique(rows.group)) == 2
    assert_as_slow(rows, LADDER)


@pytest.mark.parametrize(
    "ladder", [[], [("b",)], [("b",), ("a", "b")], [(), ("b",), ("a",)], [(), ("b",), ("b",)], [(), ()]]
)
def test_a_ladder_begins_with_nothing_and_leaves_nothing_out(ladder: list[tuple[str, ...]]) -> None:
    with pytest.raises(RoutestatError, match="contexts x: wanted contexts from"):
        held_out(random_rows(0, 40, 4, 3), {"fine": [()], "x": ladder})


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(RoutestatError, match="no column d"):
        held_out(random_rows(0, 40, 4, 3), {"x": [(), ("d",)]})
