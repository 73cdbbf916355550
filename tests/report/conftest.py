"""Small studies of traces with known truth, and their reports, written once per session."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routestat.counting.counts import count
from routestat.counting.paths import count_paths
from routestat.report.html.study import write_report
from routestat.study.memory import Memory
from routestat.study.structure_plan import StructurePlan
from routestat.study.trace_study import Study, study
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace
from routestat.traces.synthetic import Synthetic, chain, dead_experts, planted_paths
from tests.report.memory_cases import PLANTED, memory_of

HOSTILE = "<script>alert(1)</script>"


@dataclass
class Row:
    """A row of a table: its data-* attributes, its cells' text, and (exact, shown) of every number in it."""

    attributes: dict[str, str]
    cells: list[str] = field(default_factory=list)
    numbers: list[tuple[str, str]] = field(default_factory=list)


class Page(HTMLParser):
    """A page in pieces: every tag with its attributes, its text, the rows of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[Row] = []
        self.numbers: list[tuple[str, str]] = []
        self.text = ""
        self._row: Row | None = None
        self._number: str | None = None
        self._skip = False
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        self._skip = tag in ("style", "script")
        if tag == "tr" and "data-table" in attributes:
            self._row = Row(attributes)
            self.rows.append(self._row)
        if tag in ("td", "th") and self._row:
            self._row.cells.append("")
        if tag == "data":
            self._number = attributes["value"]

    def handle_endtag(self, tag: str) -> None:
        self._skip = False
        if tag == "tr":
            if self._row:
                self._row.cells = [cell.strip() for cell in self._row.cells]
            self._row = None

    def handle_data(self, data: str) -> None:
        if self._skip:
            return
        self.text += data + " "
        if self._row and self._row.cells:
            self._row.cells[-1] += data
        if self._number is not None:
            self.numbers.append((self._number, data))
            if self._row:
                self._row.numbers.append((self._number, data))
            self._number = None

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def table(self, name: str) -> list[Row]:
        return [row for row in self.rows if row.attributes["data-table"] == name]


@dataclass
class Report:
    study: Study
    folder: Path
    page: Page
    html: str
    results: dict[str, Any]


def study_of(
    made: Synthetic, states: np.ndarray | None = None, token: np.ndarray | None = None, **meta: str
) -> Study:
    """The study of a synthetic trace, perhaps with other states or with token ids."""
    routers = routers_like(made.layers, made.n_experts, made.top_k)
    known = TraceMeta(routers, **({"name": "synthetic"} | meta))
    states = made.states if states is None else states
    trace = Trace.from_arrays(known, made.document, made.position, states, token=token)
    return study(
        trace,
        count(trace),
        count_paths(trace, None, 5),
        np.random.default_rng(0),
        structure=StructurePlan(n_paths=3),
    )


def report_of(findings: Study, folder: Path) -> Report:
    html = write_report(findings, folder).read_text(encoding="utf-8")
    return Report(findings, folder, Page(html), html, json.loads((folder / "results.json").read_text()))


def _chain(n_experts: int, top_k: int, layers: int, documents: int) -> Synthetic:
    return chain(
        coupling=0.7,
        rng=np.random.default_rng(7),
        n_experts=n_experts,
        top_k=top_k,
        layers=layers,
        documents=documents,
        mean_length=40,
    )


def _constant() -> Study:
    made = _chain(4, 2, 3, 10)
    states = made.states.copy()
    states[:, 1] = 2
    return study_of(made, states)


def _missing(layer: int, made: Synthetic) -> Study:
    states = made.states.copy()
    states[:, layer] = made.alphabet.missing
    return study_of(made, states)


def _token_ids() -> Study:
    """Every layer's choice is a function of the token's id, but for a tenth of the tokens."""
    made, rng = _chain(4, 2, 4, 30), np.random.default_rng(11)
    token = rng.integers(0, 12, len(made.states))
    states = rng.integers(0, 6, (12, 4))[token]
    states = np.where(rng.random(states.shape) < 0.1, rng.integers(0, 6, states.shape), states)
    return study_of(made, states.astype(made.states.dtype), token)


def _dead() -> Study:
    made = dead_experts(
        dead={1: (2, 5)},
        rng=np.random.default_rng(3),
        n_experts=8,
        top_k=2,
        layers=3,
        documents=40,
        mean_length=40,
    )
    return study_of(made)


def _experts() -> Study:
    made = planted_paths(
        weight=0.5,
        rng=np.random.default_rng(5),
        n_experts=16,
        top_k=4,
        layers=3,
        documents=40,
        mean_length=40,
    )
    return study_of(made)


MADE: dict[str, Callable[[], Study]] = {
    "states": lambda: study_of(_chain(8, 2, 4, 60)),
    "experts": _experts,
    "token ids": _token_ids,
    "two layers": lambda: study_of(_chain(8, 2, 2, 40)),
    "one layer": lambda: study_of(_chain(8, 2, 1, 10)),
    "one document": lambda: study_of(_chain(8, 2, 3, 1)),
    "one layer of one document": lambda: study_of(_chain(4, 2, 1, 1)),
    "top 1": lambda: study_of(_chain(8, 1, 3, 20)),
    "constant layer": _constant,
    "layer without tokens": lambda: _missing(1, _chain(4, 2, 3, 10)),
    "last layer without tokens": lambda: _missing(4, _chain(4, 2, 5, 30)),
    "dead experts": _dead,
    "hostile": lambda: study_of(
        _chain(4, 2, 3, 10),
        name=HOSTILE,
        model="[bold]model[/bold] \x1b[31mred",
        dataset="../../x",
        source='"><img src=x onerror=alert(1)>',
        licence="javascript:alert(1)",
    ),
}


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Report]:
    """The report of a study by its name in MADE."""
    done: dict[str, Report] = {}

    def get(name: str) -> Report:
        if name not in done:
            done[name] = report_of(MADE[name](), tmp_path_factory.mktemp("report"))
        return done[name]

    return get


@pytest.fixture(params=list(MADE))
def any_report(request: pytest.FixtureRequest, reports: Callable[[str], Report]) -> Report:
    return reports(request.param)


@pytest.fixture(scope="session")
def planted() -> Callable[[str], Memory]:
    """Memories of planted chains by name, each measured once."""
    done: dict[str, Memory] = {}

    def get(name: str) -> Memory:
        if name not in done:
            done[name] = memory_of(PLANTED[name](np.random.default_rng(7)))
        return done[name]

    return get
