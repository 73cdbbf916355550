"""Choices as they are typed: ``12`` or ``1,7``, and ``2,3/1,7`` for those of consecutive layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

from routestat.errors import RoutestatError
from routestat.traces.metadata import Router

Record = dict[str, Any]
#: Stands for a choice that is not known, where that is allowed.
UNKNOWN = "-"
#: ``--previous none``: the token is the first of its document.
NO_PREVIOUS = "none"


@dataclass(frozen=True)
class Choice:
    """One observed choice: its router and its experts, ascending."""

    router: Router
    experts: tuple[int, ...]

    @property
    def state(self) -> int | None:
        """Its state: how many subsets come before it in lexicographic order; None where states exceed 64 bits."""
        n_experts, k = self.router.n_experts, self.router.top_k
        if not self.router.alphabet.is_ranked:
            return None
        after = sum([comb(n_experts - 1 - expert, k - slot) for slot, expert in enumerate(self.experts)])
        return comb(n_experts, k) - 1 - after

    def plain(self) -> Record:
        """Return the choice as a record."""
        return {"layer": self.router.layer, "experts": list(self.experts), "state": self.state}


@dataclass(frozen=True)
class Given:
    """What is known beside the token's own choices, as it was typed; None where it is not known.

    Attributes
    ----------
    previous : str, optional
        Choices of the previous token from the first layer on, separated by /; ``none`` for a first token.
    token, previous_token : int, optional
        Ids.
    """

    previous: str | None = None
    token: int | None = None
    previous_token: int | None = None


def read_choice(text: str, router: Router, states: bool) -> Choice:
    """Read a choice from ``12`` or ``1,7``; a single number is a state in the state view.

    Parameters
    ----------
    text : str
    router : Router
    states : bool
        Whether the view is that of states.

    Raises
    ------
    RoutestatError
        If it is neither, or no choice of this router.
    """
    try:
        numbers = [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if not numbers:
        raise RoutestatError(f"a choice is a state such as 12, or experts such as 1,7; got {text.strip()!r}")
    n_experts, top_k = router.n_experts, router.top_k
    # Many choices are read from a stream: this way takes a twentieth of the time of the alphabet's.
    if len(set(numbers)) == len(numbers) == top_k and min(numbers) >= 0 and max(numbers) < n_experts:
        return Choice(router, tuple(sorted(numbers)))
    alphabet = router.alphabet
    if len(numbers) == 1 and (states or router.top_k > 1):
        if not 0 <= numbers[0] < alphabet.size:
            raise RoutestatError(
                f"state {numbers[0]}: layer {router.layer} has states 0 … {alphabet.size - 1}"
            )
        return Choice(router, tuple(alphabet.unrank(numbers[0]).tolist()))
    try:
        return Choice(router, tuple(alphabet.sorted_rows(numbers).tolist()))
    except RoutestatError as error:
        raise RoutestatError(f"layer {router.layer}: {error}") from None


def read_history(
    text: str, routers: Sequence[Router], states: bool, gaps: bool = False
) -> list[Choice | None]:
    """Read choices of consecutive layers, separated by /, of which the last is that of the last router.

    Parameters
    ----------
    text : str
    routers : sequence of Router
        Of all layers up to the one whose choice comes last.
    states : bool
        Whether the view is that of states.
    gaps : bool
        Whether a choice may be unknown, ``-``.

    Raises
    ------
    RoutestatError
        If it reaches before the first layer, or a part is no choice.
    """
    parts = text.split("/")
    if len(parts) > len(routers):
        raise RoutestatError(
            f"{len(parts)} choices up to layer {routers[-1].layer} reach before the first layer, {routers[0].layer}"
        )
    return [
        None if gaps and part.strip() == UNKNOWN else read_choice(part, router, states)
        for part, router in zip(parts, routers[len(routers) - len(parts) :], strict=True)
    ]
