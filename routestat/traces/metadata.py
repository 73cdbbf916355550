"""The metadata of a trace: its routers, where it came from, how its tokens were run."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from routestat.errors import TraceError
from routestat.traces.alphabet import MAX_EXPERTS, Alphabet
from routestat.traces.validation import require_kind, require_text, require_whole, shown

SLOT_ORDERS = ("weight", "unknown")
FREE_TEXT = ("name", "model", "dataset", "source", "licence", "engine", "precision", "slot_order")
RESERVED = ("document", "position", "token", "phase")
#: Key in a trace's `extra` for the origin of its layer numbers: the source's file, the user, or the reader,
#: which counted them from 0 because the file has none. Absent: the source's own.
LAYER_NUMBERS = "layer_numbers"
FROM_FILE, FROM_USER, FROM_READER = "file", "user", "reader"
# Beyond this, ranking a nearly full choice needs tables too large to build.
MOST_RANKED = 256


@dataclass(frozen=True)
class Router:
    """One router of the model: the gate that chooses `top_k` of `n_experts` at `layer`.

    Parameters
    ----------
    layer : int
        The model's own layer number.
    n_experts, top_k : int
        Its alphabet.
    name : str
        The store's column, ``L05`` unless the layer has several routers.
    """

    layer: int
    n_experts: int
    top_k: int
    name: str = ""

    def __post_init__(self) -> None:
        """Check the numbers and name the router."""
        object.__setattr__(self, "layer", require_whole(self.layer, "a router's layer"))
        require_text(self.name, "a router's name")
        if not self.name:
            object.__setattr__(self, "name", f"L{self.layer:02d}")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.name):
            raise TraceError(
                f"a router's name is letters, digits, - and _ (it names columns and files), got {self.name!r}"
            )
        if self.name in RESERVED:
            raise TraceError(f"a router's name cannot be {self.name}: the store has a column of that name")
        for field_name in ("n_experts", "top_k"):
            number = require_whole(
                getattr(self, field_name), f"router {self.name}: {field_name}", 1, MAX_EXPERTS
            )
            object.__setattr__(self, field_name, number)
        # Built now, so that an impossible router fails where it is named.
        alphabet = self.alphabet
        if self.top_k > MOST_RANKED and alphabet.is_ranked:
            raise TraceError(
                f"router {self.name}: top_k {self.top_k} of {self.n_experts} experts leaves out almost none; "
                f"such routers are read up to top_k {MOST_RANKED}"
            )

    @cached_property
    def alphabet(self) -> Alphabet:
        """The subsets this router can choose."""
        return Alphabet(self.n_experts, self.top_k)


@dataclass(frozen=True)
class TraceMeta:
    """The metadata of a trace.

    Parameters
    ----------
    routers : tuple of Router
        In the order of depth.
    name, model, dataset, source, licence, engine, precision : str
        Free text, empty where unknown.
    slot_order : {"weight", "unknown"}
        Whether the top-k lists came heaviest first.
    window : int
        Tokens the model saw at once; a new window starts at positions 0, window, 2·window … of a document,
        and "the previous token" does not reach across. 0: documents ran whole.
    extra : mapping
        Further facts from the source (strings, numbers, lists).
    """

    routers: tuple[Router, ...]
    name: str = ""
    model: str = ""
    dataset: str = ""
    source: str = ""
    licence: str = ""
    engine: str = ""
    precision: str = ""
    slot_order: str = "unknown"
    window: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the fields."""
        object.__setattr__(self, "routers", tuple(self.routers))
        for field_name in FREE_TEXT:
            require_text(getattr(self, field_name), field_name)
        object.__setattr__(self, "window", require_whole(self.window, "window"))
        _require_json(require_kind(self.extra, Mapping, "extra", "an object"))
        names = [router.name for router in self.routers]
        if not names:
            raise TraceError("a trace needs at least one router")
        if len(set(names)) != len(names):
            raise TraceError(f"router names must differ, got {', '.join(names)}")
        if [router.layer for router in self.routers] != sorted(router.layer for router in self.routers):
            raise TraceError("routers must be listed in the order of depth")
        if self.slot_order not in SLOT_ORDERS:
            raise TraceError(f"slot_order must be one of {', '.join(SLOT_ORDERS)}, got {self.slot_order!r}")

    @property
    def layers(self) -> tuple[int, ...]:
        """The layer of every router."""
        return tuple(router.layer for router in self.routers)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary that `from_json` restores."""
        record: dict[str, Any] = {key: getattr(self, key) for key in (*FREE_TEXT, "window")}
        record["routers"] = [
            {"layer": r.layer, "n_experts": r.n_experts, "top_k": r.top_k, "name": r.name}
            for r in self.routers
        ]
        record["extra"] = dict(self.extra)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "TraceMeta":
        """Read the metadata of a manifest; unknown keys of a later minor version are kept in `extra`."""
        try:
            require_kind(record, Mapping, "the metadata", "an object")
            routers = tuple(Router(**router) for router in record["routers"])
            require_kind(record.get("extra", {}), Mapping, "extra", "an object")
            known = {
                key: record[key] for key in cls.__dataclass_fields__ if key in record and key != "routers"
            }
            unknown = {key: value for key, value in record.items() if key not in cls.__dataclass_fields__}
            known["extra"] = {**known.get("extra", {}), **unknown}
            return cls(routers=routers, **known)
        except (KeyError, TypeError, AttributeError) as error:
            raise TraceError(f"the metadata lacks or misspells a field: {error}") from None


def _require_json(extra: Mapping[str, Any]) -> None:
    try:
        # As it will be written, so that what cannot be is refused before any row is.
        json.dumps(dict(extra), indent=1, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TraceError(f"extra cannot be written as JSON: {shown(str(error))}") from None


def layers_were_counted(meta: TraceMeta) -> bool:
    """Whether the layer numbers are only their order in the source, counted from 0."""
    return meta.extra.get(LAYER_NUMBERS) == FROM_READER


def routers_like(layers: tuple[int, ...] | list[int], n_experts: int, top_k: int) -> tuple[Router, ...]:
    """One router for each layer, all with the same alphabet."""
    return tuple(Router(layer=int(layer), n_experts=n_experts, top_k=top_k) for layer in layers)
