"""The columns of a table by role, as ``--columns`` names them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from routestat.errors import FormatError
from routestat.traces.importers.tables.names import plain

#: Roles of columns.
ROLES = (
    "document",
    "position",
    "layer",
    "experts",
    "expert",
    "slot",
    "weight",
    "weights",
    "token",
    "phase",
    "domain",
    "cluster",
)


#: Roles that several columns can share, one per slot.
SEVERAL = ("experts", "weights")


@dataclass(frozen=True)
class Columns:
    """The columns of a table by role; empty: there is none.

    Attributes
    ----------
    experts, weights : tuple of str
        One column that holds lists, or one column per slot.
    listed : bool
        Whether `experts` is one column of lists; `weights` likewise then.
    named : tuple of str
        The roles that the caller named.
    signed : bool
        Negative positions are prompt rows.
    falling : bool
        Slot 0 is the heaviest, by the definition of the layout.
    """

    document: str = ""
    position: str = ""
    layer: str = ""
    experts: tuple[str, ...] = ()
    expert: str = ""
    slot: str = ""
    weight: str = ""
    weights: tuple[str, ...] = ()
    token: str = ""
    phase: str = ""
    domain: str = ""
    cluster: str = ""
    listed: bool = False
    named: tuple[str, ...] = ()
    signed: bool = False
    falling: bool = False

    def pairs(self) -> list[tuple[str, str]]:
        """Return role and column, in the order of `ROLES`; one column for each slot."""
        found = []
        for role in ROLES:
            held = getattr(self, role)
            for name in (held,) if isinstance(held, str) else held:
                if name:
                    found.append((role, name))
        return found

    @property
    def used(self) -> list[str]:
        """The columns that are read."""
        return [name for _, name in self.pairs()]

    def to_option(self) -> str:
        """Return the equivalent ``--columns``; empty where the name of a column holds signs that it cannot."""
        if any(set(",+=*") & set(name) or name != name.strip() for name in self.used):
            return ""
        said = []
        for role in ROLES:
            held = getattr(self, role)
            if held:
                said.append(f"{role}={held if isinstance(held, str) else '+'.join(held)}")
        return ",".join(said)


def parse_columns(where: str, text: str, held: Sequence[str]) -> Columns:
    """Parse the columns that ``--columns`` names.

    Parameters
    ----------
    where : str
        The file, for messages.
    text : str
        ``role=column,…``; several columns as ``experts=e0+e1``, or a pattern such as ``experts=e*``; ``phase=`` means
        that there is none, whatever the names of the columns.
    held : sequence of str
        All columns of the file.

    Raises
    ------
    FormatError
        For an unknown role, one named twice, or an absent column.
    """
    said: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, equals, names = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise FormatError(f"--columns wants role=column, got {part!r}")
        if role not in ROLES:
            raise FormatError(f"--columns {part}: no such role; the roles are {', '.join(ROLES)}")
        if role in said:
            raise FormatError(f"--columns: {role} is named twice")
        if not names:
            said[role] = () if role in SEVERAL else ""
            continue
        found = [name for one in names.split("+") for name in _matching(where, role, one.strip(), held)]
        if len(found) > 1 and role not in SEVERAL:
            raise FormatError(f"--columns {part}: {role} is one column, {names} are {len(found)}")
        said[role] = tuple(found) if role in SEVERAL else found[0]
    columns = Columns(**said, named=tuple(said))
    twice = next((name for name in columns.used if columns.used.count(name) > 1), None)
    if twice is not None:
        raise FormatError(f"--columns: column {twice} is named for two roles")
    if columns.experts and columns.expert:
        raise FormatError(
            "--columns: either experts (a list, or one column per slot) or expert (one per row)"
        )
    return columns


def _matching(where: str, role: str, name: str, held: Sequence[str]) -> list[str]:
    if name in held:
        return [name]
    alike = [one for one in held if plain(one) == plain(name) and plain(name)]
    if len(alike) == 1:
        return alike
    if "*" in name and (several := [one for one in held if fnmatchcase(one, name)]):
        return sorted(several, key=_number_behind)
    raise FormatError(f"{where}: no column {name} for {role} (--columns); it has {', '.join(held)}")


def _number_behind(name: str) -> tuple[int, str]:
    number = re.search(r"(\d+)\D*$", name)
    return int(number[1]) if number else -1, name
