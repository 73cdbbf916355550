"""What cannot be simulated is refused in clear words."""

import pytest

from routestat.errors import RoutestatError
from routestat.serving.replay import replay
from routestat.serving.setting_checks import require_hardware, require_setting
from routestat.serving.settings import CacheSetting, Hardware
from tests.serving.cache_cases import random_pins, random_predictions, random_steps


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (CacheSetting("fifo", capacity=3), "policy: expected one of none, static, lru, .*, got 'fifo'"),
        (CacheSetting("lru", "gpu", 3), "scope: expected one of layer, pool, got 'gpu'"),
        (
            CacheSetting("lru", capacity=3, start="hot"),
            "start: expected one of cold, warm, document, got 'hot'",
        ),
        (CacheSetting("lru", capacity=10), "at most 9, the experts of a layer, got 10"),
        (CacheSetting("lru", "pool", 7), "at most 6.75, the experts of a layer, got 7"),
        (CacheSetting("lru", capacity=2.9), "at least 3, what one token needs at a layer, got 2.9 per layer"),
        (CacheSetting("lru", "pool", 0.7), "at least 3.*, got 0.7 per layer, a pool of 2 slots"),
        (CacheSetting("lru", capacity=float("nan")), "capacity: expected at most 9, .*, got nan"),
        (CacheSetting("lru", capacity=float("-inf")), "capacity: expected at most 9, .*, got -inf"),
        (CacheSetting("lru", capacity=-1.0), "at least 3, .*, got -1 per layer"),
        (CacheSetting("lru", capacity=3, lookahead=4), "expected 0 to 3 layers, as the trace has 4, got 4"),
        (CacheSetting("lru", capacity=3, lookahead=-1), "expected 0 to 3 layers.*got -1"),
        (
            CacheSetting("lru", capacity=3, lookahead=1),
            "candidates: expected 1 to 9 experts per token, got 0",
        ),
        (CacheSetting("lru", capacity=3, lookahead=1, candidates=10), "expected 1 to 9 .*got 10"),
        (
            CacheSetting("lru", capacity=3, half_life=0),
            "half-life: expected a number of steps above 0, got 0",
        ),
        (CacheSetting("static", capacity=3), "expected pinned experts as a bool array .5, 27., got none"),
        (CacheSetting("predictor", capacity=3), "the policy predictor: expected kept predictions, got none"),
        (CacheSetting("none", lookahead=1, candidates=1), "prefetching: expected kept predictions, got none"),
    ],
)
def test_what_cannot_be_simulated_is_refused(setting, words):
    with pytest.raises(RoutestatError, match=words) as error:
        replay(random_steps(0), setting)
    assert "\n" not in str(error.value)


def test_inputs_that_do_not_fit_are_refused():
    steps = random_steps(0)
    short = random_predictions(random_steps(1, n_steps=10), 0)
    with pytest.raises(RoutestatError, match="expected predictions of at least"):
        replay(steps, CacheSetting("predictor", capacity=3), eviction=short)
    late = random_predictions(steps, 0, horizon=1)
    with pytest.raises(RoutestatError, match="none of the token itself, got a horizon of 1"):
        replay(steps, CacheSetting("predictor", capacity=3), eviction=late)
    with pytest.raises(RoutestatError, match="no layer nearer than 2 layers before, got a horizon of 1"):
        replay(steps, CacheSetting("none", lookahead=2, candidates=1), prefetch=late)
    with pytest.raises(RoutestatError, match="expected at most 3 pinned experts, got 4; pin fewer"):
        replay(steps, CacheSetting("static", capacity=3), pinned=random_pins(steps, 4, "layer", 0))


def test_the_limits_themselves_are_accepted():
    steps = random_steps(0)
    for setting in (
        CacheSetting("none"),
        CacheSetting("lru", capacity=3),
        CacheSetting("lru", capacity=9),
        CacheSetting("lru", "pool", 0.75),
        CacheSetting("lru", "pool", 6.75, lookahead=3, candidates=9),
    ):
        require_setting(setting, steps)


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (Hardware(1.0, 0.0), "bandwidth: expected bytes per second above 0, got 0"),
        (Hardware(1.0, -1.0), "bandwidth: expected bytes per second above 0, got -1"),
        (Hardware(0.0, 1.0), "expert size: expected bytes above 0, got 0"),
        (Hardware(1.0, float("inf")), "bandwidth: expected bytes per second above 0, got inf"),
        (Hardware(compute=-1.0), "compute: expected 0 or more seconds per layer, got -1"),
    ],
)
def test_a_machine_that_moves_nothing_is_refused(machine, words):
    with pytest.raises(RoutestatError, match=words):
        require_hardware(machine)
    with pytest.raises(RoutestatError, match=words):
        replay(random_steps(0), CacheSetting("none"), hardware=machine)
