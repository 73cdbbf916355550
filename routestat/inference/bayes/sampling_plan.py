"""How long a sampler runs, and how far it has come."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from routestat.errors import RoutestatError


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps per chain that are kept and that adapt the sampler before, chains, and processes for them.

    Raises
    ------
    RoutestatError
        For fewer than 10 steps of a kind, 2 chains or 1 process.
    """

    draws: int
    tune: int
    chains: int
    cores: int

    def __post_init__(self) -> None:
        if self.draws < 10 or self.tune < 10 or self.chains < 2 or self.cores < 1:
            raise RoutestatError(
                f"full Bayes wants 10 draws and tuning steps or more, 2 chains and 1 core, got {self.draws}, "
                f"{self.tune}, {self.chains} and {self.cores}"
            )

    @property
    def steps(self) -> int:
        """Of all chains."""
        return self.chains * (self.draws + self.tune)


class StoppedError(Exception):
    """An interrupt that the sampler swallowed at the end of one chain, found out by the next."""


class Watch:
    """Counts the steps of all chains; to be called with every draw.

    Parameters
    ----------
    plan
    tick
        Told the number of steps done.
    """

    def __init__(self, plan: Plan, tick: Callable[[int], None]) -> None:
        self._plan, self._tick, self._done = plan, tick, np.zeros(plan.chains, np.int64)

    @property
    def complete(self) -> bool:
        """Whether every chain came to its end."""
        return int(self._done.sum()) == self._plan.steps

    def __call__(self, trace: Any, draw: Any) -> None:
        # With one process chains run one after the other.
        whole = self._plan.draws + self._plan.tune
        if self._plan.cores == 1 and (self._done[: draw.chain] < whole).any():
            raise StoppedError
        # Told first: a step counts only if nothing interrupted that.
        self._tick(int(self._done.sum()) + 1)
        self._done[draw.chain] += 1
