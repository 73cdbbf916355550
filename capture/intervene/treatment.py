"""Treatments: ``--do 12``, ``--do 1+7``, ``--do natural``, ``--do random`` → experts for every token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.positions import NO_DOCUMENT, Layout
from capture.steps import MISSING
from routestat.errors import RoutestatError
from routestat.traces.metadata import Router

NATURAL, RANDOM = "natural", "random"
# Positions whose random subsets are drawn together.
BLOCK = 1024


@dataclass(frozen=True)
class Treatment:
    """A choice that a layer is forced to.

    Parameters
    ----------
    router : Router
    experts : tuple of int
        The forced subset, ascending; empty where `kind` is not "subset".
    kind : {"subset", "natural", "random"}
        Random: every token its own subset, uniformly over all subsets.
    seed : int
        Seed of the random subsets.
    """

    router: Router
    experts: tuple[int, ...] = ()
    kind: str = "subset"
    seed: int = 0

    @property
    def state(self) -> int | None:
        """Index of the subset, where it has one."""
        if self.kind != "subset" or not self.router.alphabet.is_ranked:
            return None
        return int(self.router.alphabet.rank(self.experts))

    @property
    def name(self) -> str:
        """Short unique name: ``12``, ``natural``, ``random``; experts where subsets have no index."""
        if self.kind != "subset":
            return self.kind
        return "+".join(map(str, self.experts)) if self.state is None else str(self.state)

    @property
    def description(self) -> str:
        """The treatment in words, for messages."""
        if self.kind == "subset":
            return f"do({self.name}): experts {', '.join(map(str, self.experts))}"
        every = "its own natural choice" if self.kind == NATURAL else "a subset drawn at random"
        return f"do({self.kind}): every token gets {every}"

    @property
    def record(self) -> dict[str, Any]:
        """The treatment as metadata and results state it."""
        given: dict[str, Any] = {"do": self.name, "state": self.state, "experts": list(self.experts)}
        return given if self.kind != RANDOM else {**given, "seed": self.seed}

    def subsets(self, layout: Layout) -> NDArray[np.int64] | None:
        """Return the experts to force in a batch ``[row × column, slot]``; None for the natural choice.

        Cells that are not recorded (padding, the start token before a window) are −1 and keep their own choice.
        """
        if self.kind == NATURAL:
            return None
        wanted = layout.document != NO_DOCUMENT
        forced = np.full((*wanted.shape, self.router.top_k), MISSING, np.int64)
        if self.kind == RANDOM:
            for row, here in enumerate(wanted):
                if here.any():
                    document = int(layout.document[row, here][0])
                    forced[row, here] = self._drawn(document, layout.position[row, here])
        else:
            forced[wanted] = self.experts
        return forced.reshape(-1, self.router.top_k)

    def _drawn(self, document: int, position: NDArray[np.int64]) -> NDArray[np.int64]:
        # A function of document and position alone: batches, windows and resuming must not change the subset.
        drawn = np.empty((len(position), self.router.top_k), np.int64)
        for block in np.unique(position // BLOCK).tolist():
            rng = np.random.default_rng([self.seed, document, block])
            order = rng.random((BLOCK, self.router.n_experts)).argsort(axis=1)
            here = position // BLOCK == block
            drawn[here] = order[position[here] % BLOCK, : self.router.top_k]
        return drawn


def parse_treatments(words: Sequence[str], router: Router, seed: int) -> tuple[Treatment, ...]:
    """Return the treatments that ``--do`` names, in order, each once.

    Raises
    ------
    RoutestatError
        If none is named, or a state or an expert is out of range.
    """
    if not words:
        raise RoutestatError(
            "name what to force: --do 12 (a state), --do 1+7 (its experts), --do natural or --do random"
        )
    return tuple(dict.fromkeys(_parsed(word.strip(), router, seed) for word in words))


def _parsed(word: str, router: Router, seed: int) -> Treatment:
    if word in (NATURAL, RANDOM):
        return Treatment(router, kind=word, seed=seed)
    parts = word.replace(",", "+").split("+")
    if not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise RoutestatError(
            f"--do wants a state such as 12, experts such as 1+7, natural or random; got {word!r}"
        )
    numbers = [int(part) for part in parts]
    alphabet = router.alphabet
    if len(numbers) == 1:
        if not alphabet.is_ranked:
            raise RoutestatError(
                f"--do {word}: name the {router.top_k} experts, such as 0+1+…: there are too many states"
            )
        if numbers[0] >= alphabet.size:
            raise RoutestatError(f"--do {word}: layer {router.layer} has states 0 … {alphabet.size - 1}")
        return Treatment(router, tuple(alphabet.unrank(numbers[0]).tolist()))
    if len(numbers) != router.top_k or max(numbers) >= router.n_experts or len(set(numbers)) < len(numbers):
        raise RoutestatError(
            f"--do {word}: layer {router.layer} chooses {router.top_k} different experts of 0 … "
            f"{router.n_experts - 1}"
        )
    return Treatment(router, tuple(sorted(numbers)))
