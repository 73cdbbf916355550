"""Context: what a count is conditioned on."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from routestat.errors import RoutestatError


@dataclass(frozen=True)
class Context:
    """A set of earlier choices on which a count is conditioned, as (layer offset, token offset) of each.

    The layer offset counts routers in the chosen list, so that dense layers and layers left out do not matter:
    −1 is the router before. The token offset counts tokens of the same document. ``Context()`` conditions on
    nothing: the target's marginal distribution. Axes of a table follow `sources`: from the farthest to the nearest
    layer, then from the farthest to the nearest token.

    Raises
    ------
    RoutestatError
        If a source lies after the target, in a later token, or is repeated.
    """

    sources: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Sort and check the sources."""
        sources = tuple(sorted((int(layer), int(token)) for layer, token in self.sources))
        if len(set(sources)) != len(sources):
            raise RoutestatError(f"a context names each source once, got {sources}")
        for layer, token in sources:
            if token > 0 or (token == 0 and layer > 0):
                raise RoutestatError(
                    f"a context looks back: offset (layer {layer:+d}, token {token:+d}) is ahead"
                )
        object.__setattr__(self, "sources", sources)

    @classmethod
    def layer(cls, *back: int) -> "Context":
        """Condition on the routers `back` layers before, at the same token: ``layer(1)``, ``layer(2, 1)``."""
        return cls(tuple((-b, 0) for b in _positive(back)))

    @classmethod
    def token(cls, *back: int) -> "Context":
        """Condition on the same router `back` tokens before."""
        return cls(tuple((0, -b) for b in _positive(back)))

    @property
    def lag(self) -> int:
        """Tokens it looks back."""
        return max((-token for _, token in self.sources), default=0)

    @property
    def name(self) -> str:
        """Readable and unique: ``nothing``, ``layer-1``, ``layer-2,layer-1``, ``token-1``."""
        words = []
        for layer, token in self.sources:
            parts = ([f"layer{layer:+d}"] if layer else []) + ([f"token{token:+d}"] if token else [])
            words.append(" ".join(parts) or "same layer")
        return ",".join(words) or "nothing"


def layer_window(reach: int) -> tuple[Context, ...]:
    """Return the contexts that count all layer pairs up to `reach` layers apart."""
    return tuple(Context.layer(n) for n in range(1, reach + 1))


def parse_contexts(text: str) -> tuple[Context, ...]:
    """Read contexts from words as in ``nothing,layer-1,layer-2+layer-1,token-1``.

    A source is ``layer-N``, ``token-N``, or both as in ``layer-1:token-1``; the sources of a context are joined by +.

    Raises
    ------
    RoutestatError
        If a word is none of these.
    """
    found = []
    for words in text.split(","):
        sources = [] if words.strip() == "nothing" else words.split("+")
        found.append(Context(tuple(map(_source, sources))))
    return tuple(dict.fromkeys(found))


def _source(words: str) -> tuple[int, int]:
    found = re.fullmatch(r"(?:layer-(\d{1,4}))?:?(?:token-(\d{1,4}))?", words.strip(), re.ASCII)
    if not found or not any(found.groups()) or (":" in words) != all(found.groups()):
        raise RoutestatError(
            f"a context is nothing, layer-N, token-N, or several joined by + such as layer-2+layer-1; got "
            f"{words.strip()!r}"
        )
    layer, token = (int(number or 0) for number in found.groups())
    if (layer, token) == (0, 0):
        raise RoutestatError(f"a context looks back by 1 or more, got {words.strip()!r}")
    return -layer, -token


def _positive(back: Iterable[int]) -> tuple[int, ...]:
    back = tuple(back)
    if not back or min(back) < 1:
        raise RoutestatError(f"steps back are 1 or more, got {back}")
    return back
