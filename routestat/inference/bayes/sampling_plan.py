"""The length of a sampler's run, and its progress."""

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
        """Refuse settings out of range."""
        if self.draws < 10 or self.tune < 10 or self.chains < 2 or self.cores < 1:
            raise RoutestatError(
                f"full Bayes needs 10 draws and tuning steps or more, 2 chains and 1 core, got {self.draws}, "
                f"{self.tune}, {self.chains} and {self.cores}"
            )

    @property
    def steps(self) -> int:
        """Of all chains."""
        return self.chains * (self.draws + self.tune)


class StoppedError(Exception):
    """An interrupt that the sampler ignored at the end of one chain, detected in the next."""


class Watch:
    """Count the steps of all chains; called with every draw.

    Parameters
    ----------
    plan
    tick
        Called with the number of steps done.
    """

    def __init__(self, plan: Plan, tick: Callable[[int], None]) -> None:
        self._plan, self._tick, self._done = plan, tick, np.zeros(plan.chains, np.int64)

    @property
    def complete(self) -> bool:
        """Whether every chain is finished."""
        return int(self._done.sum()) == self._plan.steps

    def __call__(self, trace: Any, draw: Any) -> None:
        """Count one draw of a chain."""
        # In one process chains run one after the other.
        whole = self._plan.draws + self._plan.tune
        if self._plan.cores == 1 and (self._done[: draw.chain] < whole).any():
            raise StoppedError
        # Called first: a step counts only if that call was not interrupted.
        self._tick(int(self._done.sum()) + 1)
        self._done[draw.chain] += 1
