"""Strengths of nested contexts on held-out documents: raised where documents repeat themselves, and only there."""

import numpy as np
import pytest

from routestat.inference.markov.order_selection import choose_order
from routestat.inference.smoothing import backoff_step as step_file
from routestat.inference.smoothing.backoff_strength import BackoffParameters
from routestat.inference.smoothing.context_counts import TokenRows
from routestat.inference.smoothing.held_out import held_out
from routestat.traces.synthetic import second_order
from tests.inference.smoothing.random_contexts import (
    NESTED,
    assert_as_slow,
    both_strengths,
    both_ways,
    random_rows,
    repeated,
    taken,
    tokens_of,
)
from tests.oracle.backoff_oracle import slow_fits

ORDERS: dict[str, list[tuple[str, ...]]] = {"0": [()], "1": [(), ("b",)], "2": [(), ("b",), ("a", "b")]}


def test_the_raised_strength_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two targets, a strength of 1 by evidence. Groups 0 and 2, with 0, 0, 0 and 0, 0, 1, predict group 1. Left out in
    # turn they have ((2 + s/2) / (3 + s))**3 and ((3 + s/2) / (3 + s))**2 (s/2) / (3 + s): .0234 in all at s = 1,
    # .0276 at 2, .0272 at 4. So s = 2, and group 1, with 0 and 1, has (5 + 1) / (6 + 2) and (1 + 1) / (6 + 2). Forward
    # it knows group 0 only: (3 + 1) / (3 + 2) and (0 + 1) / (3 + 2). The others have s = 1: group 1 alone
    # leaves nothing to predict from.
    monkeypatch.setattr(step_file, "fit_backoff", lambda *_: BackoffParameters(1.0))
    monkeypatch.setattr(step_file, "fit_strength", lambda *_: 1.0)
    rows = TokenRows(np.array([0, 0, 0, 0, 1, 0, 0, 1]), 2, np.array([0, 0, 0, 1, 1, 2, 2, 2]), {})
    scored = held_out(rows, {"x": [()]}, ["x"])
    assert scored.fitted == {"x": (BackoffParameters(1.0), BackoffParameters(2.0))}
    left_out = (3.5 / 6) ** 3, (4.5 / 6) ** 2 * 1.5 / 6
    np.testing.assert_allclose(
        2.0 ** -scored.bits["x"], [left_out[0], 6 / 8 * 2 / 8, left_out[1]], rtol=1e-13
    )
    assert 2.0 ** -scored.forward_bits["x"][1] == pytest.approx(4 / 5 * 1 / 5, rel=1e-13)


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_strengths_of_both_halves_are_those_of_the_recursion(steps: int, times: int) -> None:
    rows = repeated(random_rows(9, 60, 7, 4), times)
    found = held_out(rows, {"x": NESTED[:steps]}).fitted["x"]
    slow = [fit.fitted[-1] for fit in slow_fits(tokens_of(rows), NESTED[:steps], rows.n_targets)]
    assert slow[0].strength != pytest.approx(slow[1].strength, rel=0.01)
    # Strengths without an end are doubled until the last digit: of those only that they have none is reported.
    for one, other in zip(found, slow, strict=True):
        assert 1 / one.strength == pytest.approx(1 / other.strength, rel=1e-6, abs=1e-12)
        assert one.discount == pytest.approx(other.discount, rel=1e-6)


@pytest.mark.parametrize(("evidence", "plain"), [((2.0, 0.6), 1.0), ((0.001, 0.05), 8.0)])
def test_the_better_of_discounted_and_plain_strengths_is_raised_as_far_as_it_gains(
    evidence: tuple[float, float], plain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Losses of parabolas in log2 s: the plain one has its end at 8 and is lower there, the discounted one at 16.
    def loss(fitted: BackoffParameters) -> float:
        best = 4.0 if fitted.discount else 3.0
        return (np.log2(fitted.strength) - best) ** 2 + (0.3 if fitted.discount else 0.0)

    raised = step_file.Step._strengthened(BackoffParameters(*evidence), BackoffParameters(plain), loss, 1e9)
    assert raised == BackoffParameters(8.0)
    # What predicts worse when doubled stays as it is, were it the best or not.
    assert step_file.Step._strengthened(
        BackoffParameters(20.0, 0.1), BackoffParameters(90.0), loss, 1e9
    ) == BackoffParameters(20.0, 0.1)
    # Above the bound beyond which a prior outweighs any row nothing is gained.
    alone = BackoffParameters(*evidence)
    assert step_file.Step._strengthened(alone, alone, loss, 1.5 * evidence[0]) == alone


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("seed", range(3))
def test_strengths_are_only_ever_doubled(seed: int, times: int) -> None:
    rows = repeated(random_rows(seed, 150, 8, 4), times)
    raised, by_evidence = both_strengths(rows, NESTED[:2])
    assert not any(one.discount for one in by_evidence.fitted["x"])
    steps = [
        np.log2(one.strength / other.strength)
        for one, other in zip(raised.fitted["x"], by_evidence.fitted["x"], strict=True)
    ]
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    assert min(steps) > -1e-6
    assert times == 1 or min(steps) > 2


def chain_rows(seed: int, coupling: float, documents: int = 60, length: int = 40, k: int = 6) -> TokenRows:
    """Three layers a, b, target, each predicted by the one before with this probability."""
    rng, n = np.random.default_rng(seed), documents * length
    layers = [rng.choice(k, n, p=rng.dirichlet(np.full(k, 3.0)))]
    for _ in range(2):
        distributions = coupling * rng.dirichlet(np.full(k, 0.5), k) + (1 - coupling) * rng.dirichlet(
            np.full(k, 3.0)
        )
        layers.append((rng.random((n, 1)) > distributions.cumsum(axis=1)[layers[-1], :-1]).sum(axis=1))
    a, b, target = layers
    return TokenRows(target, k, np.repeat(np.arange(documents), length), {"a": a, "b": b})


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
        # Copies of tokens predict no more than the tokens, and hardly less; order 2 costs little where it has no use.
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


def test_a_vocabulary_that_determines_the_target_keeps_its_weight_when_tokens_repeat_three_times() -> None:
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
    requested: list[BackoffParameters] = []
    fit = step_file.fit_backoff

    def listening(*cells: np.ndarray) -> BackoffParameters:
        requested.append(fit(*cells))
        return requested[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_file, "fit_backoff", listening)
        bits, _ = both_ways(rows, NESTED[:2])
        assert any(one.discount > 0.1 for one in requested)
        patch.setattr(step_file, "fit_backoff", lambda *cells: BackoffParameters(fit(*cells).strength))
        without, _ = both_ways(rows, NESTED[:2])
    assert np.abs(bits - without).max() > 0.1
    assert_as_slow(taken(rows, np.arange(200)), NESTED[:2])
